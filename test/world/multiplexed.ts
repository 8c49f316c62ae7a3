/** Several servers behind one gateway, a path for each way of putting them together, and clients of the SDK in front. */
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { startEverything, type Everything } from '../fixtures/everything/main.ts';
import { startMisbehaving, type MisbehavingHttp } from '../fixtures/misbehaving/http.ts';
import { startParley } from './parley.ts';
import { freePort } from './port.ts';

/** Of the server that never answers a list, and has to answer everything else within it. */
const TIMEOUT_MS = 1_000;

export interface Multiplexed {
  readonly one: Everything;
  readonly two: Everything;
  /** Lists four tools a page. */
  readonly paged: MisbehavingHttp;
  readonly other: MisbehavingHttp;
  url(path: string): string;
  /** Closed with the rest, or by `closeClients`. */
  connect(path: string, mode: 'legacy' | 'auto', capabilities?: object): Promise<Client>;
  /** For afterEach. */
  closeClients(): Promise<void>;
  stop(): Promise<void>;
}

const target = (name: string, host: string, timeout?: string): object => ({ name, mcp: { host }, ...(timeout === undefined ? {} : { policies: { http: { requestTimeout: timeout } } }) });
const route = (path: string, targets: object[], mcp: object = {}): object => ({ name: path.slice(1), matches: [{ path: { exact: path } }], backends: [{ mcp: { targets, ...mcp } }] });

export async function startMultiplexed(): Promise<Multiplexed> {
  const [one, two, paged, other, mute] = await Promise.all([startEverything(), startEverything(), startMisbehaving({ pageSize: 4 }), startMisbehaving(), startMisbehaving({ mute: true })]);
  const a = target('one', one.url);
  const silent = target('mute', mute.url, `${TIMEOUT_MS}ms`);
  const nobody = target('nobody', `http://127.0.0.1:${await freePort()}/mcp`);
  const routes = [
    route('/two', [a, target('two', two.url)]),
    route('/three', [a, target('paged', paged.url), target('other', other.url)]),
    route('/always', [a], { prefixMode: 'always' }),
    route('/single', [a]),
    route('/never', [a, target('paged', paged.url)], { prefixMode: 'never' }),
    route('/closed', [a, silent]),
    route('/open', [a, silent], { failureMode: 'failOpen' }),
    route('/gone', [a, nobody]),
    route('/gone-open', [a, nobody], { failureMode: 'failOpen' }),
  ];
  const parley = await startParley({ config: { binds: [{ port: await freePort(), listeners: [{ routes }] }] } });
  const url = (path: string): string => new URL(path, parley.url).href;
  const clients: Client[] = [];
  const closeClients = async (): Promise<void> => void (await Promise.all(clients.splice(0).map((client) => client.close())));
  return {
    one,
    two,
    paged,
    other,
    url,
    connect: async (path, mode, capabilities = { sampling: {}, elicitation: {}, roots: {} }) => {
      const client = new Client({ name: 'multiplex', version: '1' }, { capabilities, versionNegotiation: { mode } });
      await client.connect(new StreamableHTTPClientTransport(new URL(url(path))));
      clients.push(client);
      return client;
    },
    closeClients,
    stop: async () => {
      await closeClients();
      await parley.stop();
      await Promise.all([one, two, paged, other, mute].map((server) => server.close()));
    },
  };
}

export const toolNames = async (client: Client): Promise<string[]> => (await client.listTools()).tools.map(({ name }) => name);
