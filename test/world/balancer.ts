/** What stands in front of several ingress processes: TCP connections in turn, to those that take them. It looks at no byte. */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { pipeline } from 'node:stream';

export interface Balancer {
  /** Of the first server, as it is reached through here. */
  readonly url: string;
  close(): Promise<void>;
}

/** @param urls where the servers are; all have the same path. */
export async function startBalancer(urls: readonly string[]): Promise<Balancer> {
  const servers = urls.map((url) => new URL(url));
  const open = new Set<Socket>();
  let turn = 0;
  const dial = async (): Promise<Socket | undefined> => {
    const first = turn++;
    for (let tries = 0; tries < servers.length; tries += 1) {
      const server = servers[(first + tries) % servers.length];
      const socket = connect(Number(server?.port), server?.hostname);
      try {
        await once(socket, 'connect');
        return socket;
      } catch {
        socket.destroy();
      }
    }
    return undefined;
  };
  const balancer = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (client) => {
    open.add(client);
    client.once('close', () => open.delete(client));
    void dial().then((server) => {
      if (server === undefined) return client.destroy();
      pipeline(client, server, () => undefined);
      pipeline(server, client, () => undefined);
      client.resume();
      return client;
    });
  });
  balancer.listen(0, '127.0.0.1');
  await once(balancer, 'listening');
  return {
    url: `http://127.0.0.1:${(balancer.address() as AddressInfo).port}${servers[0]?.pathname}`,
    close: async () => {
      for (const socket of open) socket.destroy();
      balancer.close();
      await once(balancer, 'close');
    },
  };
}
