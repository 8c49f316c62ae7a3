/**
 * A token that a program gives for an external_account of Google (AIP-4117). It is run as it is written, by no shell; only
 * where the environment of the connector allows it; and what it says on its way to a token goes nowhere.
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import type { Fault } from '#protocol/faults/fault.ts';
import type { CredentialSurroundings } from './credentials.ts';

const ALLOWED = 'GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES';
const OUTPUT_BYTES_MAX = 64 * 1024;

const JWTS = ['urn:ietf:params:oauth:token-type:jwt', 'urn:ietf:params:oauth:token-type:id_token'] as const;
const shape = { version: z.literal(1), success: z.literal(true), expiration_time: z.number().optional() };
const answer = z.union([
  z.object({ ...shape, token_type: z.enum(JWTS), id_token: z.string().min(1) }),
  z.object({ ...shape, token_type: z.literal('urn:ietf:params:oauth:token-type:saml2'), saml_response: z.string().min(1) }),
]);

interface Program {
  readonly command: string;
  readonly timeout_millis: number;
  /** Where the program keeps its last answer. */
  readonly output_file?: string | undefined;
  readonly audience: string;
  readonly subject_token_type: string;
  readonly service_account_impersonation_url?: string | undefined;
}

/** @param fault what is wrong, in words that go on from the name of the key. @throws Fault */
export async function tokenOfProgram(program: Program, surroundings: CredentialSurroundings, fault: (what: string) => Fault): Promise<string> {
  const { env, learn } = surroundings;
  if (env[ALLOWED] !== '1') throw fault(`names a program: set ${ALLOWED}=1 where the connector runs, if that may be run`);
  const { output_file: file } = program;
  const kept = file === undefined ? undefined : await answerIn(file);
  const given = kept?.expiration_time === undefined ? undefined : tokenIn(kept);
  if (given !== undefined) return learned(given);
  const printed = await run(program, surroundings, fault);
  const token = tokenIn(answerOf(printed) ?? (file === undefined || printed.trim() !== '' ? undefined : await answerIn(file)));
  if (token === undefined) throw fault('names a program that gave no token that is good now');
  return learned(token);

  function learned(text: string): string {
    learn(text, 'passing');
    return text;
  }
}

function run(program: Program, { env }: CredentialSurroundings, fault: (what: string) => Fault): Promise<string> {
  const [file = '', ...args] = [...program.command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? '');
  const told = { env: { ...env, ...toldTo(program) }, timeout: program.timeout_millis, killSignal: 'SIGKILL', maxBuffer: OUTPUT_BYTES_MAX, windowsHide: true } as const;
  return new Promise((resolve, reject) => {
    execFile(file, args, told, (error, stdout) => {
      if (error === null) return resolve(stdout);
      reject(fault(error.code === 'ENOENT' ? 'names a program that is not there where the connector runs' : error.killed === true ? `names a program that did not end within ${program.timeout_millis} ms` : 'names a program that failed'));
    });
  });
}

function toldTo({ audience, subject_token_type: type, service_account_impersonation_url: impersonation, output_file: file }: Program): Record<string, string> {
  const email = /([^/]+):generateAccessToken$/.exec(impersonation ?? '')?.[1];
  return {
    GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE: audience,
    GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE: type,
    GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE: '0',
    ...(email === undefined ? {} : { GOOGLE_EXTERNAL_ACCOUNT_IMPERSONATED_EMAIL: email }),
    ...(file === undefined ? {} : { GOOGLE_EXTERNAL_ACCOUNT_OUTPUT_FILE: file }),
  };
}

type Answer = z.infer<typeof answer>;

const answerIn = (file: string): Promise<Answer | undefined> => readFile(file, 'utf8').then(answerOf, () => undefined);

function answerOf(text: string): Answer | undefined {
  try {
    return answer.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** Undefined = it has ended. */
function tokenIn(given: Answer | undefined): string | undefined {
  if (given === undefined || (given.expiration_time ?? Number.POSITIVE_INFINITY) * 1000 <= Date.now()) return undefined;
  return 'id_token' in given ? given.id_token : given.saml_response;
}
