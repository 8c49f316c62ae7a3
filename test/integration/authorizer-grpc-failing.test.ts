/** `extAuthz` with a gRPC server that does not decide, or is not there. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { AuditCloudEvent } from '#protocol/audit/event.ts';
import { absentAuthorizer, downRoutes } from '../contracts/absent-authorizer.ts';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { hearAudit } from '../world/audit.ts';
import { type CheckReply, type GrpcAuthorizer, UNAVAILABLE, startGrpcAuthorizer } from '../world/authorizer.ts';
import { eventually, startParley, type ParleyWorld } from '../world/parley.ts';
import { freePort } from '../world/port.ts';
import { type Told, initializeOf, metric, send } from '../world/wire.ts';

const OK: CheckReply = { status: { code: 0 } };
const header = (key: string, value: string): object => ({ header: { key, value } });
const ok = (ok_response: object): CheckReply => ({ ...(OK as object), ok_response });

let everything: Everything;
let authorizer: GrpcAuthorizer;
let dead: string;
let parley: ParleyWorld;
let stopHearing: () => void;
let decide: () => CheckReply;
const audited: AuditCloudEvent[] = [];

function config(): Readonly<Record<string, unknown>> {
  const asks = { host: authorizer.host, policies: { http: { requestTimeout: '1s' } } };
  const route = (name: string, policies: object): object => ({ name, matches: [{ path: { exact: `/${name}` } }], policies, backends: [{ mcp: { targets: [{ name: 'one', mcp: { host: everything.url } }] } }] });
  const routes = [
    route('plain', { extAuthz: asks }),
    route('open', { extAuthz: { ...asks, failureMode: 'allow' } }),
    route('teapot', { extAuthz: { ...asks, failureMode: { denyWithStatus: 418 } } }),
    ...downRoutes({ host: dead }, route),
  ];
  return { binds: [{ port, listeners: [{ routes }] }] };
}

let port: number;

beforeAll(async () => {
  [everything, authorizer, port, dead] = await Promise.all([startEverything(), startGrpcAuthorizer(() => decide()), freePort(), freePort().then((free) => `127.0.0.1:${free}`)]);
  parley = await startParley({ config: config(), env: { PARLEY_STATS_ADDR: '127.0.0.1:0' } });
  stopHearing = await hearAudit(parley.host.nats.connection, (event) => audited.push(event));
});
beforeEach(() => {
  decide = () => OK;
  audited.splice(0);
});
afterAll(async () => {
  stopHearing?.();
  await parley?.stop();
  await Promise.all([everything?.close(), authorizer?.close()]);
});

const opened = (path: string): Promise<Told> => send(new URL(path, parley.url).href, { body: initializeOf() });
const outcomes = (outcome: string, who = authorizer.host): Promise<number> => metric(parley.host.statsUrl, 'parley_authorizer_checks_total', { authorizer: who, outcome });

describe('an answer that does not decide', () => {
  const big = 'x'.repeat(10 * 1024 * 1024);
  const nested = (depth: number): object => (depth === 0 ? { stringValue: 'x' } : { structValue: { fields: { a: nested(depth - 1) } } });
  const bad: [string, () => CheckReply, string][] = [
    ['none in time', () => undefined, 'timeout'],
    ['an error of gRPC', () => UNAVAILABLE, 'unavailable'],
    ['bytes that mean nothing', () => Buffer.from('planted nonsense \xff\xff'), 'unavailable'],
    ['nothing at all', () => Buffer.alloc(0), 'unusable'],
    ['a header of 10 MB', () => ok({ headers: [header('x-big', big)] }), 'unavailable'],
    ['a header past the limit', () => ok({ headers: [header('x-big', 'x'.repeat(16_385))] }), 'unusable'],
    ['headers past the limit', () => ok({ headers: Array.from({ length: 101 }, (_, at) => header(`x-${at}`, '1')) }), 'unusable'],
    ['a header that is none', () => ok({ headers: [header('x y', '1')] }), 'unusable'],
    ['a value that is none', () => ok({ headers: [header('x-a', 'a\r\nx-b: 1')] }), 'unusable'],
    ['a request for another host', () => ok({ headers: [header('Host', 'other')] }), 'unusable'],
    ['a request for another path', () => ok({ headers: [header(':path', '/free')] }), 'unusable'],
    ['a response header with a line break', () => ok({ response_headers_to_add: [header('x-a', 'a\nb')] }), 'unusable'],
    ['metadata past the limit', () => ({ ...OK, dynamic_metadata: { fields: { a: { stringValue: 'x'.repeat(16_385) } } } }), 'unusable'],
    ['metadata nested past the limit', () => ({ ...OK, dynamic_metadata: { fields: { a: nested(40) } } }), 'unusable'],
    ['a denial of no status', () => ({ status: { code: 7 }, denied_response: { status: { code: 'Continue' } } }), 'unusable'],
  ];

  test.each(bad)('%s denies, and says no more', async (_, reply, why) => {
    decide = reply;
    const before = await outcomes(why);
    const { status, text } = await opened('/plain');
    expect([status, text]).toEqual([403, 'external authorization failed']);
    expect(await outcomes(why)).toBe(before + 1);
    await eventually('the denial in audit', () => audited.find(({ data }) => data.kind === 'call_denied' && data.reason === `extAuthz/${why}` && data.route === 'plain'));
  });

  test.each(bad)('%s is let through, or another status, as the operator wants', async (_, reply) => {
    decide = reply;
    expect([(await opened('/open')).status, (await opened('/teapot')).status]).toEqual([200, 418]);
  });

  test('says nothing to a gateway that goes on', async () => {
    decide = () => OK;
    expect((await opened('/plain')).status).toBe(200);
  });
});

describe('an authorizer that is not there', () => {
  absentAuthorizer({ statusOf: async (path) => (await opened(path)).status, outcomes: (outcome) => outcomes(outcome, dead) });

  test('is asked again when it is there', async () => {
    const back = await startGrpcAuthorizer(() => OK, Number(dead.split(':')[1]));
    try {
      await eventually('the authorizer to be asked', async () => ((await opened('/down')).status === 200 ? true : undefined));
      expect(back.seen.length).toBeGreaterThan(0);
    } finally {
      await back.close();
    }
  });
});
