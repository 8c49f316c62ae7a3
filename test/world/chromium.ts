/** Chromium of this machine, driven by playwright-core; it is not downloaded. `CHROMIUM_BIN` names another one. */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, chromium } from 'playwright-core';

const PROGRAM = process.env['CHROMIUM_BIN'] ?? '/usr/bin/chromium';
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** Why there is none; undefined = there is one. */
export const noChromium: string | undefined = existsSync(PROGRAM) ? undefined : `no ${PROGRAM}: install chromium, or name one with CHROMIUM_BIN`;

export interface RunningChromium {
  readonly context: BrowserContext;
  close(): Promise<void>;
}

/** As if it was started for the first time. */
export async function startChromium(): Promise<RunningChromium> {
  const profile = await mkdtemp(join(tmpdir(), 'parley-chromium-'));
  const context = await chromium.launchPersistentContext(profile, { executablePath: PROGRAM, headless: true, args: FLAGS });
  return {
    context,
    close: async () => {
      await context.close();
      await rm(profile, { recursive: true, force: true });
    },
  };
}
