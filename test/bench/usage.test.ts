import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { parseStat, treeUsage } from './usage.ts';

describe('the usage of a process tree', () => {
  test('is read from a line of /proc even when the name holds brackets and spaces', () => {
    const numbers = Array.from({ length: 49 }, (_, index) => index + 4); // field n of proc(5) holds n, from field 4 on
    const entry = parseStat(`77 (odd ) name) S ${numbers.join(' ')}`);
    expect(entry).toEqual({ pid: 77, parent: 4, name: 'odd ) name', cpuMs: (14 + 15 + 16 + 17) * 10, rssBytes: 24 * 4096 });
  });

  test.runIf(process.platform === 'linux')('counts a grandchild that worked, and not a process outside of it', async () => {
    const burn = `const end = 200000; while (process.cpuUsage().user < end); console.log('done'); setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['-e', `require('child_process').spawn(process.execPath, ['-e', ${JSON.stringify(burn)}], { stdio: ['ignore', 'inherit', 'ignore'] })`], {
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true,
    });
    try {
      await once(child.stdout, 'data');
      const { contender, nats } = treeUsage([child.pid ?? -1]);
      expect(contender.cpuMs).toBeGreaterThan(150);
      expect(contender.rssBytes).toBeGreaterThan(20 * 1024 * 1024);
      expect(nats).toEqual({ cpuMs: 0, rssBytes: 0 });
      expect(treeUsage([]).contender.cpuMs).toBe(0);
    } finally {
      process.kill(-(child.pid ?? 0), 'SIGKILL');
    }
  });
});
