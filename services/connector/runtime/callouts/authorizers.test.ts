import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AuthorizerTarget } from '#policies/authorizer/authorizer.ts';
import { Callout, type Reaching } from '#protocol/config/callout.ts';
import { Secret } from '#protocol/config/secret.ts';
import { authorizerPurpose } from '#protocol/subjects/connector.ts';
import type { Answer } from '#host/bus/bus.ts';
import { answerOf, questionBytes } from '#host/callouts/http-text.ts';
import { CallerSeal } from '#host/caller-seal.ts';
import { clock } from '#host/clock.ts';
import { type HttpAuthorizer, startHttpAuthorizer } from '../../../../test/world/authorizer.ts';
import { ConnectorAuthorizers } from './authorizers.ts';

const seal = new CallerSeal(() => undefined);
let server: HttpAuthorizer;
let authorizers: ConnectorAuthorizers;

beforeAll(async () => {
  server = await startHttpAuthorizer((_, response) => void response.end('yes'));
});
afterAll(() => server?.close());

const named = (key: string, secret: string, more: Reaching = {}): AuthorizerTarget['callout'] =>
  new Callout({ name: key, key, endpoints: [{ origin: `http://${server.host}`, weight: 1 }], reaching: { auth: { keys: [{ value: { secret: new Secret(secret) }, location: { in: 'header', name: 'x-key', prefix: '' } }] }, ...more } });
const follow = (...callouts: readonly Callout[]): void => authorizers.follow({ authorizers: new Map(callouts.map((one) => [String(one.key), one])) });

/** What is answered, and the key that it was asked with. */
async function ask(authorizer: string, sealedFor = authorizer): Promise<unknown> {
  const question = Buffer.from(questionBytes({ method: 'GET', path: '/check', headers: { authorization: 'Bearer of-the-caller' }, body: undefined })).toString('base64');
  const payload = new TextEncoder().encode(await seal.sealText(question, authorizerPurpose('question', sealedFor), 5_000));
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  await authorizers.answer({ meta: { wire: 'http', authorizer }, payload, deadline: clock() + 5_000, subject: '', traceparent: undefined, answer: { end: resolve, fail: reject } as unknown as Answer });
  const sealed = await promise;
  const { body } = answerOf(Buffer.from(await seal.openText(new TextDecoder().decode(sealed), authorizerPurpose('answer', authorizer)), 'base64'));
  return [Buffer.from(body).toString(), server.seen.at(-1)?.headers['x-key']];
}

describe('authorizers that are asked for ingress', () => {
  beforeAll(() => {
    authorizers = new ConnectorAuthorizers({ seal, env: {}, learn: () => undefined });
  });
  afterAll(() => authorizers.close());

  test('are those of the generation in force, and of the one before, with the credentials they have now', async () => {
    follow(named('a', 'first'));
    expect(await ask('a')).toEqual(['yes', 'first']);
    follow(named('a', 'second'), named('b', 'other'));
    expect(await ask('a')).toEqual(['yes', 'second']);
    follow(named('b', 'other'));
    expect(await ask('a')).toEqual(['yes', 'second']);
    follow(named('b', 'other'));
    await expect(ask('a')).rejects.toMatchObject({ code: 'gone' });
    expect(await ask('b')).toEqual(['yes', 'other']);
  });

  test('are none that nobody named, and no question that was sealed for another', async () => {
    follow(named('a', 'first'), named('b', 'other'));
    await expect(ask('c')).rejects.toMatchObject({ code: 'gone' });
    const before = server.seen.length;
    await expect(ask('a', 'b')).rejects.toMatchObject({ code: 'upstream' });
    expect(server.seen).toHaveLength(before);
  });
});
