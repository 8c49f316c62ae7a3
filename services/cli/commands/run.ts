import { Command } from 'commander';
import { SERVICES, serviceNames } from '../arguments.ts';
import { usageError } from '../core/exit.ts';

interface RunOptions {
  readonly file?: string;
  readonly bind?: string;
}

export const runCommand = (): Command =>
  new Command('run')
    .summary('run some of the services against a NATS cluster')
    .description('Runs some of the services in this process. They meet the others on the NATS servers that NATS_URL names.')
    .argument('<service...>', `one or more of ${SERVICES.join(', ')}`)
    .option('-f, --file <file>', 'the configuration file; only the policy service reads one')
    .option('--bind <address>', 'address ingress listens on where the configuration names only a port')
    .addHelpText('after', '\nExample:\n  $ NATS_URL=nats://nats-1:4222,nats://nats-2:4222 parley run session connector')
    .action(async (words: string[], { file, bind }: RunOptions) => {
      const services = serviceNames(words);
      if (file !== undefined && !services.includes('policy')) {
        throw usageError(`-f is read by the policy service alone: add policy to the services, or leave out -f ${file}`);
      }
      if (!process.env['NATS_URL']) {
        throw usageError('parley run needs NATS_URL, the servers the services meet on: NATS_URL=nats://localhost:4222 parley run …\n`parley up` brings a nats-server of its own.');
      }
      const { serve } = await import('../runtime/serve.ts');
      await serve({ role: services.join('-'), services, file, env: process.env, bind });
    });
