/** The harness's own client as a peer of the load. */
import { ChaosClient, type Hears } from './client.ts';
import type { Peer } from './session.ts';

export function wirePeer(url: string, hears: Hears): Peer {
  const client = new ChaosClient(url, hears);
  return {
    open: (withinMs) => client.open(withinMs),
    call: (name, args, withinMs) => client.request({ method: 'tools/call', params: { name, arguments: args, _meta: { progressToken: args['key'] } }, withinMs }),
    setLevel: (level, withinMs) => client.request({ method: 'logging/setLevel', params: { level }, withinMs }),
    close: () => client.close(),
  };
}
