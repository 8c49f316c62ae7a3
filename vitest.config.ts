import { join } from 'node:path';
import { configDefaults, defineConfig } from 'vitest/config';

/** Tests start some two hundred processes of ours, each of which would compile the same files for half a second. */
process.env['NODE_COMPILE_CACHE'] ??= join(import.meta.dirname, 'node_modules/.cache/node');

/** Minutes of elections of leaders, of which some take twice as long as most: run by `npm run test:cluster`. */
const LONG = 'test/integration/cluster-parley.test.ts';

/**
 * Three projects, run one after the other: what needs no other process, what looks at the tree, and what starts servers.
 * The last has three files at once: each brings its own nats-server and children, and waits for them more than it works.
 *
 * Files of a project share what they have loaded (isolate): loading our modules anew for each took a minute and a half.
 * So nothing may be kept in a module, and a test gives back what it took of its process: a fake clock, a listener.
 */
export default defineConfig({
  test: {
    passWithNoTests: false,
    teardownTimeout: 20_000,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{protocol,policies,services,deploy,test/bench,test/chaos,test/conformance,test/fixtures}/**/*.test.ts'],
          testTimeout: 10_000,
          isolate: false,
          maxWorkers: '100%',
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'arch',
          include: ['test/arch/**/*.test.ts'],
          testTimeout: 60_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/{integration,contracts}/**/*.test.ts'],
          exclude: process.env['TEST_LONG'] === '1' ? configDefaults.exclude : [...configDefaults.exclude, LONG],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          isolate: false,
          maxWorkers: 3,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
