// A proxy in front of Postgres that counts what passes: statements executed, round trips (a "ready for query" from the
// server ends one) and bytes both ways. Used in a pass of its own, since it costs time.
import { connect, createServer } from 'node:net';

/** Reads the frames of one direction: one byte of type (none in the client's first message), four of length. */
function frames(first, seen) {
  let pending = Buffer.alloc(0);
  let untyped = first;
  return (chunk) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    for (;;) {
      const head = untyped ? 0 : 1;
      if (pending.length < head + 4) return;
      const size = head + pending.readInt32BE(head);
      if (pending.length < size) return;
      if (!untyped) seen(String.fromCharCode(pending[0]), pending.subarray(5, size));
      untyped = false;
      pending = pending.subarray(size);
    }
  };
}

/**
 * @param {string} url of the real Postgres
 * @returns {Promise<{ url: string, reset: () => void, counts: () => { statements: number, roundTrips: number, bytes: number, texts: string[] }, stop: () => void }>}
 */
export async function countingProxy(url) {
  const target = new URL(url);
  let counts;
  const reset = () => (counts = { statements: 0, roundTrips: 0, bytes: 0, texts: [] });
  reset();
  const sockets = new Set();
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    const named = new Map();
    let bound = '';
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true);
      sockets.add(socket);
      socket.on('error', () => [client, upstream].forEach((one) => one.destroy()));
      socket.on('close', () => [client, upstream].forEach((one) => one.destroy()));
    }
    const text = (body) => body.toString('utf8', 0, body.indexOf(0));
    const asked = frames(true, (type, body) => {
      if (type === 'P') {
        const name = text(body);
        named.set(name, text(body.subarray(Buffer.byteLength(name) + 1)));
      } else if (type === 'B') {
        const portal = text(body);
        bound = named.get(text(body.subarray(Buffer.byteLength(portal) + 1))) ?? '';
      } else if (type === 'E' || type === 'Q') {
        counts.statements++;
        counts.texts.push((type === 'Q' ? text(body) : bound).replace(/\s+/g, ' ').trim());
      }
    });
    const answered = frames(false, (type) => type === 'Z' && counts.roundTrips++);
    client.on('data', (chunk) => {
      counts.bytes += chunk.length;
      asked(chunk);
      upstream.write(chunk);
    });
    upstream.on('data', (chunk) => {
      counts.bytes += chunk.length;
      answered(chunk);
      client.write(chunk);
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const own = new URL(url);
  own.port = String(/** @type {import('node:net').AddressInfo} */ (server.address()).port);
  return {
    url: own.href,
    reset,
    counts: () => counts,
    stop() {
      sockets.forEach((socket) => socket.destroy());
      server.close();
    },
  };
}
