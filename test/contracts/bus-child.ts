/** A process of its own on the bus, to be stopped and continued: answers a question with what it has served, and never answers `hang`. */
import { connect } from '@nats-io/transport-node';
import { createNatsBus } from '#host/bus/nats.ts';
import { bytes, subjectOf, text } from './bus-bench.ts';

async function main(url: string, instance: string): Promise<void> {
  const connection = await connect({ servers: url });
  const bus = createNatsBus({ connection, instance, onBug: (error) => console.error(error) });
  const served: string[] = [];
  bus.serve(subjectOf('sleeper'), ({ answer, payload }) => {
    if (text(payload) === 'hang') return;
    served.push(text(payload));
    answer.end(bytes(served.join(', ')));
  });
  await bus.flush();
  process.send?.('ready');
  process.on('disconnect', () => process.exit());
}

if (import.meta.main) await main(process.argv[2] ?? '', process.argv[3] ?? '');
