/** Services as an operator runs them, a process each, on one nats-server in front of one upstream: to be started and killed one by one. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { stringify } from 'yaml';
import { auditEvent, type AuditCloudEvent } from '#protocol/audit/event.ts';
import { startCommand, type Command } from './command.ts';
import { startNats, type NatsWorld } from './nats.ts';
import { freePort } from './port.ts';

export interface Services {
  /** Of MCP, once an ingress runs. */
  readonly url: string;
  readonly nats: NatsWorld;
  /** A connection of the test's own. */
  readonly bare: NatsConnection;
  /** All that was told so far, oldest first. */
  readonly audit: readonly AuditCloudEvent[];
  onAudit(hear: (event: AuditCloudEvent) => void): () => void;
  /** Services in one process, by name; resolves when it is ready. */
  start(...names: readonly string[]): Promise<Command>;
  stop(): Promise<void>;
}

/** With the policy service, which has read the configuration. @param env of every process. */
export async function startServices(target: string, env: Readonly<Record<string, string>> = {}): Promise<Services> {
  const [nats, folder, port] = await Promise.all([startNats(), mkdtemp(join(tmpdir(), 'parley-services-')), freePort()]);
  const bare = await connect({ servers: nats.url });
  const running: Command[] = [];
  const audit: AuditCloudEvent[] = [];
  const listeners = new Set<(event: AuditCloudEvent) => void>([(event) => audit.push(event)]);
  bare.subscribe('audit.>', {
    callback: (_error, message) => {
      const event = auditEvent.parse(message.json());
      for (const hear of listeners) hear(event);
    },
  });
  const run = async (args: readonly string[]): Promise<Command> => {
    const command = startCommand(['run', ...args], { NATS_URL: nats.url, ...env });
    running.push(command);
    await command.line(/^ready after/);
    return command;
  };
  const config = join(folder, 'config.yaml');
  await writeFile(config, stringify({ mcp: { port, targets: [{ name: 'fixture', mcp: { host: target } }] } }));
  await run(['policy', '-f', config]);
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    nats,
    bare,
    audit,
    onAudit(hear) {
      listeners.add(hear);
      return () => void listeners.delete(hear);
    },
    start: (...names) => run(names),
    async stop() {
      // One that is stopped in its tracks does not hear that it is to end.
      for (const command of running) command.signal('SIGCONT');
      await Promise.all(running.map((command) => command.stop()));
      await bare.close();
      await Promise.all([nats.stop(), rm(folder, { recursive: true, force: true })]);
    },
  };
}

/** As a crash: no goodbye. */
export async function kill(command: Command): Promise<void> {
  command.signal('SIGKILL');
  await command.ended;
}
