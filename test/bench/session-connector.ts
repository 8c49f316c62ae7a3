/** Stands in for the connector in sessions.ts: opens upstreams that do not exist and answers every relayed request, so that only the session worker has work. */
import { connect } from '@nats-io/transport-node';
import { createNatsBus } from '#host/bus/nats.ts';
import { encode } from '#protocol/mcp/message.ts';
import { CONNECTOR_QUEUE, type OpenedUpstreams, connectorOpen, connectorRelay } from '#protocol/subjects/connector.ts';

export const BACKEND = 'bench';
const VERSION = '2025-11-25';

async function main(natsUrl: string): Promise<void> {
  const connection = await connect({ servers: natsUrl });
  const instance = 'connector-bench';
  const bus = createNatsBus({ connection, instance, onBug: (error) => console.error(error) });
  bus.serve(
    connectorOpen.to({ backend: BACKEND }),
    ({ answer, meta }) => {
      const opened: OpenedUpstreams = { connector: instance, version: VERSION, targets: { one: { session: `upstream-of-${meta.session}`, version: VERSION, capabilities: { tools: {} } } } };
      answer.data(encode(opened));
      answer.end(encode({ jsonrpc: '2.0', id: 0, result: { protocolVersion: VERSION, capabilities: { tools: {} }, serverInfo: { name: 'bench', version: '1' } } }));
    },
    { queue: CONNECTOR_QUEUE },
  );
  bus.serve(connectorRelay.to({ instance }), ({ answer, meta }) => {
    answer.end(meta.kind === 'request' ? encode({ jsonrpc: '2.0', id: JSON.parse(meta.id ?? 'null') as unknown, result: {} }) : new Uint8Array(0));
  });
  await bus.flush();
  process.on('message', () => void connection.drain().then(() => process.disconnect()));
  process.send?.('ready');
}

if (import.meta.main) await main(process.argv[2] ?? '');
