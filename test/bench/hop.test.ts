import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BenchClient, openPool } from './client.ts';
import { accepts, startProgram, waitUntil } from './programs.ts';
import { freePort } from '../world/port.ts';
import type { Program } from './programs.ts';

describe('the bare hop in front of the bench upstream', () => {
  const programs: Program[] = [];
  let urls: Record<'upstream' | 'hop', string>;
  beforeAll(async () => {
    const [upstream, hop] = [await freePort(), await freePort()];
    urls = { upstream: `http://127.0.0.1:${upstream}/mcp`, hop: `http://127.0.0.1:${hop}/mcp` };
    programs.push(startProgram({ args: [join(import.meta.dirname, 'upstream.ts'), String(upstream)] }));
    programs.push(startProgram({ args: [join(import.meta.dirname, 'hop.ts'), String(hop), urls.upstream] }));
    for (const port of [upstream, hop]) await waitUntil(`port ${port}`, programs, () => accepts(port));
  });
  afterAll(() => Promise.all(programs.map((program) => program.stop())));

  test.each([['upstream', 'legacy'], ['upstream', 'modern'], ['hop', 'legacy'], ['hop', 'modern']] as const)('%s answers %s calls', async (name, era) => {
    const pool = openPool(urls[name], 2);
    const client = new BenchClient(pool, urls[name], era);
    await client.open();
    await client.call();
    await client.call();
    await client.close();
    if (era === 'legacy') await expect(client.call()).rejects.toThrow('404');
    else await expect(client.call()).resolves.toBeUndefined();
    await pool.close();
  });
});
