import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below what the system gives to who asks for any port, and to who connects: nobody else takes one that a test gives back for a moment. */
const FROM = 20_000;
const TO = 32_000;

/** A port on loopback that was free a moment ago. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FROM + Math.floor(Math.random() * (TO - FROM));
    if (await isFree(port)) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
