import { Command } from 'commander';
import { START_ORDER } from '../arguments.ts';

interface UpOptions {
  readonly file?: string;
  readonly data?: string;
  readonly bind?: string;
}

export const upCommand = (): Command =>
  new Command('up')
    .summary('run the whole gateway in one process')
    .description(
      'Runs ingress, policy, session and connector in one process, beside a nats-server of its own.\n' +
        'With NATS_URL set it uses that NATS instead. Without -f it serves a demonstration server at http://localhost:3000/mcp.\n' +
        'Ctrl-C (SIGINT, SIGTERM) finishes what is under way and ends with 0; a second one leaves at once.',
    )
    .option('-f, --file <file>', 'the configuration file; a change of it is taken up at once')
    .option('--data <dir>', 'where the nats-server keeps its streams (default: parley in your XDG state directory)')
    .option('--bind <address>', 'address to listen on where the configuration names only a port')
    .addHelpText('after', '\nExample:\n  $ parley up -f config.yaml --data .parley')
    .action(async ({ file, data, bind }: UpOptions) => {
      const { serve } = await import('../runtime/serve.ts');
      const own = { role: 'up', services: START_ORDER, dataDir: data, bind };
      if (file !== undefined) return serve({ ...own, file, env: process.env });
      const { defaultConfig } = await import('../runtime/default-config.ts');
      const demonstration = defaultConfig();
      return serve({ ...own, file: demonstration.file, env: { ...process.env, ...demonstration.variables }, hint });
    });

const hint = (url: string): string =>
  `Try, in another terminal:\n  npx parley call echo '{"message":"hi"}'\nor point an MCP client at ${url}; -f config.yaml serves your own targets.`;
