/** The echo server over stdio, for the contenders that can only start one. */
import { createInterface } from 'node:readline';
import { answer } from './echo.ts';
import type { Asked } from './echo.ts';

createInterface({ input: process.stdin }).on('line', (line) => {
  const reply = answer(JSON.parse(line) as Asked);
  if (reply !== undefined) process.stdout.write(`${JSON.stringify(reply)}\n`);
});
