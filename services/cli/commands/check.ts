import { Command } from 'commander';
import { CommandError } from '../core/exit.ts';
import { print } from '../runtime/terminal.ts';

interface CheckOptions {
  readonly file: string;
  readonly json?: true;
}

export const checkCommand = (): Command =>
  new Command('check')
    .summary('say whether a configuration file is valid')
    .description(
      'Reads a configuration file as the policy service would, variables expanded, and says what is wrong with it and where.\n' +
        'Certificates and keys it names are looked at as well, as they are on this machine.\n' +
        'Exits with 0 when it is valid (warnings are no error) and with 1 when it is not.',
    )
    .requiredOption('-f, --file <file>', 'the configuration file')
    .option('--json', 'print a JSON array of problems: severity, file, line, column, path, message, hint')
    .addHelpText('after', '\nExample:\n  $ parley check -f config.yaml --json | jq -r .[].message')
    .action(async ({ file, json }: CheckOptions) => {
      const { loadDocument } = await import('../../policy/runtime/load.ts');
      const { checkCredentials } = await import('../runtime/check-credentials.ts');
      const { byLine, problemLine } = await import('#protocol/config/problem.ts');
      const { generation, problems: found, locate } = await loadDocument(file, process.env);
      const unusable = (await checkCredentials(generation)).map((one) => ({ ...one, file, ...locate(one.path) }));
      const problems = [...found, ...unusable].toSorted(byLine);
      if (json) print(JSON.stringify(problems, null, 2));
      else for (const problem of problems) print(problemLine(problem));
      const errors = problems.filter((problem) => problem.severity === 'error').length;
      if (generation === undefined || errors > 0) throw new CommandError(`${file} is not valid: ${errors} ${errors === 1 ? 'error' : 'errors'}`);
      if (!json) print(`${file} is valid${problems.length > 0 ? `, with ${problems.length} ${problems.length === 1 ? 'warning' : 'warnings'}` : ''}`);
    });
