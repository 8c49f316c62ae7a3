/** The suite sends no token: this stands between it and a gateway that wants one, adds it, and changes nothing else. */
import { once } from 'node:events';
import { type IncomingHttpHeaders, createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream';

export interface Shim {
  readonly url: string;
  close(): Promise<void>;
}

export async function startShim(gateway: string, token: string): Promise<Shim> {
  const { hostname, port, pathname } = new URL(gateway);
  const server = createServer((asked, answered) => {
    const headers: IncomingHttpHeaders = { ...asked.headers, authorization: `Bearer ${token}` };
    const passedOn = request({ hostname, port, path: asked.url, method: asked.method, headers }, (answer) => {
      answered.writeHead(answer.statusCode ?? 502, answer.headers);
      answered.flushHeaders();
      pipeline(answer, answered, () => undefined);
    });
    answered.on('close', () => passedOn.destroy());
    pipeline(asked, passedOn, (error) => void (error != null && answered.destroy()));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${pathname}`,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
