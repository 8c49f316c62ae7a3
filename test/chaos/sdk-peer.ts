/** The official client of the v2 SDK as a peer of the load: what it makes of the wire is what users see. */
import { Client, ProtocolError, SdkError, SdkErrorCode, SdkHttpError, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import type { LoggingLevel } from '@modelcontextprotocol/client';
import { Agent, fetch as undiciFetch } from 'undici';
import type { Hears, Replied } from './client.ts';
import type { Outcome } from './history.ts';
import type { Peer } from './session.ts';
import { markOf } from './tools.ts';

const RECONNECT = { initialReconnectionDelay: 100, maxReconnectionDelay: 2_000, reconnectionDelayGrowFactor: 1.5, maxRetries: 100 };
const RETRY_AFTER_MS = 1_000;
const REQUESTS_PER_CONNECTION_MAX = 10;

export function sdkPeer(url: string, hears: Hears): Peer {
  const agent = new Agent({ headersTimeout: 0, bodyTimeout: 0, maxRequestsPerClient: REQUESTS_PER_CONNECTION_MAX });
  const client = new Client({ name: 'chaos-sdk', version: '1' }, { capabilities: { elicitation: {} }, versionNegotiation: { mode: 'legacy' } });
  const fetch = ((input: string | URL, init?: object) => undiciFetch(input, { ...init, dispatcher: agent })) as unknown as typeof globalThis.fetch;
  const transport = new StreamableHTTPClientTransport(new URL(url), { fetch, reconnectionOptions: RECONNECT });
  client.setRequestHandler('elicitation/create', async ({ params }) => {
    const said = await hears.elicitation(markOf(params.message));
    return said === undefined ? { action: 'decline' } : { action: 'accept', content: { ...said } };
  });
  client.setNotificationHandler('notifications/message', ({ params }) => hears.announcement(markOf(params.data)));
  const asked = async (work: () => Promise<Outcome>): Promise<Replied> => ({ outcome: await work().catch(outcomeOf), resumed: 0 });
  return {
    open: async (withinMs) => {
      const { outcome } = await asked(async () => {
        await client.connect(transport, { timeout: withinMs });
        return { kind: 'answered', mark: undefined };
      });
      return outcome;
    },
    call: (name, args, withinMs) =>
      asked(async () => {
        const onprogress = ({ progress, message }: { progress: number; message?: string | undefined }) => hears.progress(markOf(message), String(args['key']), progress);
        const { content, isError } = await client.callTool({ name, arguments: args }, { timeout: withinMs, onprogress });
        const [first] = content;
        const text = first?.type === 'text' ? first.text : undefined;
        return isError === true ? { kind: 'failed', status: 200, code: 0, message: String(text) } : { kind: 'answered', mark: markOf(text) };
      }),
    setLevel: (level, withinMs) =>
      asked(async () => {
        await client.setLoggingLevel(level as LoggingLevel, { timeout: withinMs });
        return { kind: 'answered', mark: undefined };
      }),
    close: async () => {
      await transport.terminateSession().catch(() => undefined);
      await client.close().catch(() => undefined);
      await agent.destroy();
    },
  };
}

function outcomeOf(error: unknown): Outcome {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof SdkHttpError) {
    const { status } = error;
    if (status === 404) return { kind: 'lost', message };
    if (status === 503) return { kind: 'refused', message, retryMs: RETRY_AFTER_MS };
    return { kind: 'failed', status: status ?? 0, code: 0, message };
  }
  if (error instanceof ProtocolError) return { kind: 'failed', status: 200, code: error.code, message };
  if (error instanceof SdkError && error.code === SdkErrorCode.RequestTimeout) return { kind: 'unanswered', message };
  return { kind: 'cut', message };
}
