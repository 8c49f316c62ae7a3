/** The configuration file of the nats-server that runs as our child. Production brings its own server: deploy/nats/nats-server.conf. */

const MAX_PAYLOAD_BYTES = 8 * 1024 * 1024;

/**
 * How long an acknowledged write may lie in the operating system's memory before it is forced to disk. A killed process
 * loses nothing either way; a power cut loses up to this much. `always` forces every write: about twice the latency of
 * a KV write and a seventh of the throughput of many at once, which one developer's machine has no use for.
 */
export const SYNC_INTERVAL_DEFAULT = '5s';

export interface ServerConfig {
  readonly name: string;
  readonly storeDir: string;
  readonly pidFile: string;
  /** -1 = any free port. */
  readonly port: number;
  readonly syncInterval: string;
}

export function serverConfigText(config: ServerConfig): string {
  return `# Written by Parley at every start; changes are lost. Loopback only, no authentication:
# whoever can log in to this machine can talk to it.
server_name: ${quote(config.name)}
host: "127.0.0.1"
port: ${config.port}
pid_file: ${quote(config.pidFile)}
logtime: false
max_payload: ${MAX_PAYLOAD_BYTES}
jetstream {
  store_dir: ${quote(config.storeDir)}
  # An acknowledged write reaches the disk at most this much later ("always" = before the acknowledgement).
  sync_interval: ${quote(config.syncInterval)}
}
`;
}

/** JSON's string syntax is a subset of the server's, backslashes on Windows included. */
const quote = (text: string): string => JSON.stringify(text);
