// A TCP proxy between page and server that can cut connections. The browser's offline mode does not
// close open streams.
import { once } from 'node:events';
import net from 'node:net';
import { atEnd } from './cleanup.js';

export async function startProxy(test, origin) {
  const { hostname, port } = new URL(origin);
  const pairs = new Set();
  const state = { down: false, bytes: 0 };
  const server = net.createServer((client) => {
    if (state.down) return client.destroy();
    const upstream = net.connect(Number(port), hostname);
    const pair = { client, upstream, isLive: false };
    const drop = () => {
      pairs.delete(pair);
      client.destroy();
      upstream.destroy();
    };
    pairs.add(pair);
    upstream.on('data', (chunk) => {
      if (!pair.isLive) state.bytes += chunk.length;
      pair.isLive ||= chunk.includes('event: caught-up');
    });
    for (const socket of [client, upstream]) socket.on('error', drop).on('close', drop);
    client.pipe(upstream).pipe(client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  const cut = () => {
    for (const { client, upstream } of pairs) {
      client.destroy();
      upstream.destroy();
    }
  };
  atEnd(test, 'the proxy', () => {
    cut();
    server.close();
  });
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    /** Number of bytes from the server so far, without live events after a replay. */
    bytes: () => state.bytes,
    /** Closes all connections and refuses new ones. */
    down() {
      state.down = true;
      cut();
    },
    up() {
      state.down = false;
    },
  };
}
