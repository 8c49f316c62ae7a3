import { setTimeout as delay } from 'node:timers/promises';
import type { JetStreamManager } from '@nats-io/jetstream';
import { Command, Option } from 'commander';
import type { Applied, ApplyOptions as LayoutOptions } from '#deploy/nats/apply.ts';
import { Fault } from '#protocol/faults/fault.ts';
import { print, say } from '../runtime/terminal.ts';

/** A cluster that has just come up loses requests, or has no leader yet. */
const TRIES_MAX = 5;
const AGAIN_MS = 1_000;

interface ApplyOptions {
  readonly replicas?: string;
}

export const natsCommand = (): Command =>
  new Command('nats')
    .summary('prepare a NATS cluster')
    .description('Works on the NATS servers that NATS_URL names.')
    .addCommand(applyCommand())
    .addHelpText('after', '\nExample:\n  $ NATS_URL=nats://nats-1:4222 parley nats apply');

const applyCommand = (): Command =>
  new Command('apply')
    .summary('create or update the streams and buckets Parley stands on')
    .description(
      'Creates or updates the streams and buckets Parley stands on, on the NATS servers that NATS_URL names. Deletes nothing.\n' +
        'Services do the same at their start; run it by hand where they lack the permission, or to raise the number of replicas.',
    )
    .addOption(new Option('--replicas <n>', 'copies of everything; needs a cluster of as many servers. Without it, what exists keeps its own').choices(['1', '3', '5']))
    .addHelpText('after', '\nExample:\n  $ NATS_URL=nats://nats-1:4222 parley nats apply --replicas 3')
    .action(async ({ replicas }: ApplyOptions) => {
      const { withNats } = await import('../runtime/nats-session.ts');
      const { appliedTable } = await import('../show/applied-table.ts');
      await withNats({ dataDir: undefined }, async ({ nats, settings, where }) => {
        say(`applying the layout to ${where}`);
        const copies = replicas === undefined ? settings.nats.replicas : Number(replicas);
        print(appliedTable(await apply(nats.jsm, { replicas: copies })));
      });
    });

async function apply(jsm: JetStreamManager, options: LayoutOptions): Promise<Applied[]> {
  const { applyLayout } = await import('#deploy/nats/apply.ts');
  for (let tries = 1; ; tries += 1) {
    try {
      return await applyLayout(jsm, options);
    } catch (error) {
      if (error instanceof Fault || tries === TRIES_MAX) throw error;
      say(`not yet (${error instanceof Error ? error.message : String(error)}): trying again`);
      await delay(AGAIN_MS);
    }
  }
}
