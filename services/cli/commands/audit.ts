import { Command, Option } from 'commander';
import type { AuditKind } from '#protocol/audit/kinds.ts';
import { AUDIT_KINDS } from '#protocol/audit/kinds.ts';
import { since } from '../arguments.ts';

interface TailOptions {
  readonly since?: number;
  readonly kind?: AuditKind;
  readonly json?: true;
  readonly data?: string;
}

export const auditCommand = (): Command =>
  new Command('audit')
    .summary('read the audit stream')
    .description('Reads the stream of everything the gateway decides and does.')
    .addCommand(tailCommand())
    .addHelpText('after', '\nExample:\n  $ parley audit tail --since 10m');

const tailCommand = (): Command =>
  new Command('tail')
    .summary('follow the audit stream')
    .description(
      'Prints one line for each audit event, until it is stopped. Listens to NATS_URL; without it, to the nats-server of the\n' +
        '`parley up` that runs on the data directory.',
    )
    .option('--since <duration>', 'begin with what happened in the last 90s, 10m, 2h', since)
    .addOption(new Option('--kind <kind>', 'only events of this kind').choices(AUDIT_KINDS))
    .option('--json', 'print each event as it is stored: CloudEvents JSON, one per line')
    .option('--data <dir>', 'data directory of the `parley up` to listen to, when NATS_URL is not set')
    .addHelpText('after', '\nExample:\n  $ parley audit tail --since 10m --json | jq .type')
    .action(async (options: TailOptions) => {
      const { tailAudit } = await import('../runtime/tail-audit.ts');
      await tailAudit({ sinceMs: options.since, kind: options.kind, json: options.json === true, dataDir: options.data });
    });
