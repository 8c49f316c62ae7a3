/** What went wrong in an MCP conversation, in words for the person at the terminal. */
import { ProtocolError, SdkError, SdkErrorCode, SdkHttpError } from '@modelcontextprotocol/client';
import { CommandError } from '../core/exit.ts';

/** Errors wrap each other three or four deep in practice; more would be a loop. */
const CHAIN_MAX = 10;

export function clientProblem(error: unknown, url: URL): CommandError {
  if (error instanceof CommandError) return error;
  return new CommandError(describe(error, url), undefined, { cause: error });
}

function describe(error: unknown, url: URL): string {
  const chain = unwrap(error);
  const socket = chain.map((each) => (each as NodeJS.ErrnoException).code).find((code) => code !== undefined && Object.hasOwn(SOCKET, code));
  if (socket !== undefined) return `cannot reach ${url.href}: ${SOCKET[socket]}`;
  const http = chain.find((each) => SdkHttpError.isInstance(each));
  if (http !== undefined) return httpText(http.status, url, http.message);
  const protocol = chain.find((each) => ProtocolError.isInstance(each));
  if (protocol !== undefined) return `${url.href} refused: ${protocol.message} (JSON-RPC error ${protocol.code})`;
  const sdk = chain.find((each) => SdkError.isInstance(each));
  if (sdk?.code === SdkErrorCode.EraNegotiationFailed) return `no common protocol with ${url.href}: ${sdk.message}; try another --era`;
  if (sdk !== undefined) return `talking to ${url.href} failed: ${sdk.message} (${sdk.code})`;
  return `talking to ${url.href} failed: ${chain[0]?.message ?? String(error)}`;
}

const SOCKET: Record<string, string> = {
  ECONNREFUSED: 'connection refused; is `parley up` running?',
  ECONNRESET: 'the connection was cut off; is `parley up` still running?',
  UND_ERR_SOCKET: 'the connection was cut off; is `parley up` still running?',
  ENOTFOUND: 'there is no host of this name; check --url',
  EAI_AGAIN: 'the name of the host could not be looked up; check --url and the network',
  ETIMEDOUT: 'no answer in time; check --url and the network',
  UND_ERR_CONNECT_TIMEOUT: 'no answer in time; check --url and the network',
};

function httpText(status: number, url: URL, message: string): string {
  if (status === 404) return `${url.href} answered 404: no MCP server is at this path; check --url (the routes are in the table \`parley up\` prints)`;
  if (status === 401) return `${url.href} answered 401: it wants a login, which this small client does not do`;
  if (status === 403) return `${url.href} answered 403: not allowed`;
  if (status === 503) return `${url.href} answered 503: Parley is up but cannot serve now; its log says why`;
  return `${url.href} answered ${status}: ${message}`;
}

/** The error, its causes, and what the SDK keeps of them in `data`. */
function unwrap(error: unknown): readonly Error[] {
  const found: Error[] = [];
  const waiting: unknown[] = [error];
  while (waiting.length > 0 && found.length < CHAIN_MAX) {
    const next = waiting.shift();
    if (!(next instanceof Error) || found.includes(next)) continue;
    found.push(next);
    waiting.push(next.cause, (next as { data?: { cause?: unknown } }).data?.cause);
    if (next instanceof AggregateError) waiting.push(...next.errors);
  }
  return found;
}
