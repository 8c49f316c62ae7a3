/** An HTTP proxy that connects whoever asks to wherever they want (CONNECT), and remembers it. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, type Socket, connect } from 'node:net';

export interface Proxy {
  /** `127.0.0.1:<port>` */
  readonly host: string;
  readonly seen: readonly { readonly authority: string; readonly authorization: string | undefined }[];
  close(): Promise<void>;
}

/** @param status what it answers; 200 = it connects. */
export async function startProxy(status: () => number = () => 200): Promise<Proxy> {
  const seen: { authority: string; authorization: string | undefined }[] = [];
  const sockets = new Set<Socket>();
  const kept = (socket: Socket): void => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket)).on('error', () => socket.destroy());
  };
  const server = createServer((_, response) => void response.writeHead(405).end());
  server.on('connection', kept);
  server.on('connect', ({ url = '', headers }, client: Socket) => {
    seen.push({ authority: url, authorization: headers['proxy-authorization'] });
    if (status() !== 200) return void client.end(`HTTP/1.1 ${status()} No\r\nconnection: close\r\n\r\n`);
    const { hostname, port } = new URL(`http://${url}`);
    const upstream = connect(Number(port), hostname, () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      upstream.pipe(client).pipe(upstream);
    });
    kept(upstream);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
