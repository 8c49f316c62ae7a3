/** A gateway in front of one server, `files`, for the test that runs: what it shows that server, and what the server wants to see. All of it ends with the test. */
import { onTestFinished } from 'vitest';
import { startMisbehaving, type MisbehavingHttp, type MisbehavingOptions } from '../fixtures/misbehaving/http.ts';
import { startTokenEndpoint, type IssuingEndpoint } from '../fixtures/token-endpoint.ts';
import type { NatsWorld } from './nats.ts';
import { startParley } from './parley.ts';

export interface FilesGateway {
  readonly url: string;
  readonly server: MisbehavingHttp;
}

export interface FilesOptions {
  /** One of its own unless given: gateways on one share the calls of a backend, so a test that has two gives none. */
  readonly nats?: NatsWorld;
  readonly backendAuth: object;
  /** Of the gateway. */
  readonly policies?: object;
  readonly env?: Readonly<Record<string, string>>;
  /** Whom the server lets in; everybody unless given. */
  readonly admits?: NonNullable<MisbehavingOptions['admits']>;
}

export async function startFilesGateway({ nats, backendAuth, policies = {}, env = {}, admits }: FilesOptions): Promise<FilesGateway> {
  const server = await startMisbehaving(admits === undefined ? {} : { admits });
  onTestFinished(() => server.close());
  const targets = [{ name: 'files', mcp: { host: server.url }, policies: { backendAuth } }];
  const parley = await startParley({ ...(nats === undefined ? {} : { nats }), env, config: { mcp: { policies, targets } } });
  onTestFinished(() => parley.stop());
  return { url: parley.url, server };
}

/** For the test that runs, as the gateway. */
export async function issuing(...[answer]: Parameters<typeof startTokenEndpoint>): Promise<IssuingEndpoint> {
  const endpoint = await startTokenEndpoint(answer);
  onTestFinished(() => endpoint.close());
  return endpoint;
}
