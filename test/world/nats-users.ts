/** One nats-server with the users of deploy/nats and nothing in it: for what each of them may do. */
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { passwordVariable, type User, USERS } from '#deploy/nats/permissions.ts';
import { runServer } from '#host/nats/program.ts';
import { resolveNatsServer } from '#host/nats/resolve.ts';
import { createLog } from '#host/telemetry/log.ts';

const USERS_CONF = join(import.meta.dirname, '../../deploy/nats/users.conf');

export interface UsersWorld {
  readonly url: string;
  /** What a process needs in its environment to be that user. */
  env(user: User): Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

export const passwordOf = (user: User): string => `${user}-secret`;

/** What users.conf takes from the environment. */
export const passwords = (): Record<string, string> => Object.fromEntries(USERS.map((user) => [passwordVariable(user), passwordOf(user)]));

export async function startNatsWithUsers(): Promise<UsersWorld> {
  const folder = await mkdtemp(join(tmpdir(), 'parley-users-'));
  await cp(USERS_CONF, join(folder, 'users.conf'));
  const config = `
    listen: "127.0.0.1:-1"
    max_payload: 8388608
    jetstream { store_dir: "${join(folder, 'store')}" }
    accounts { PARLEY { jetstream: enabled, include "users.conf" } }`;
  await writeFile(join(folder, 'nats-server.conf'), config);
  const { path } = await resolveNatsServer(process.env, { onProgress: (line) => process.stderr.write(`${line}\n`) });
  const log = createLog({ level: process.env['PARLEY_TEST_LOG'] === 'debug' ? 'debug' : 'silent', format: 'json' });
  const server = await runServer(path, join(folder, 'nats-server.conf'), log, { PATH: process.env['PATH'], ...passwords() });
  const url = `nats://127.0.0.1:${server.port}`;
  return {
    url,
    env: (user) => ({ NATS_URL: url, NATS_USER: user, NATS_PASSWORD: passwordOf(user) }),
    stop: async () => {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
