// Answers that are too big: written with back-pressure, so that the provider itself stays small.
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { createGzip } from 'node:zlib';

const CHUNK = Buffer.alloc(64 * 1024, 'a');
const HEAD = '{"access_token":"at_flood","token_type":"bearer","padding":"';
const TAIL = '"}';

/** Sends a valid JSON object of this many bytes. */
export async function pourOversize(response: ServerResponse, bytes: number): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': String(bytes) });
  response.write(HEAD);
  const padding = bytes - HEAD.length - TAIL.length;
  if (await pour(response, padding)) response.end(TAIL);
}

/** Sends chunks until the other side hangs up. */
export async function pourEndless(response: ServerResponse): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.write(HEAD);
  await pour(response, Infinity);
}

/** Sends a valid JSON object that has this many bytes once it is unpacked. */
export async function pourGzipBomb(response: ServerResponse, bytes: number): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' });
  const gzip = createGzip({ level: 1 });
  gzip.on('error', () => undefined);
  response.once('close', () => gzip.destroy());
  gzip.pipe(response);
  gzip.write(HEAD);
  const padding = bytes - HEAD.length - TAIL.length;
  if (await pour(gzip, padding)) gzip.end(TAIL);
}

interface Sink {
  readonly destroyed: boolean;
  write(chunk: Uint8Array): boolean;
  once(event: 'close' | 'drain', listener: () => void): unknown;
}

async function pour(sink: Sink & NodeJS.EventEmitter, bytes: number): Promise<boolean> {
  const closed = once(sink, 'close').catch(() => undefined);
  for (let left = bytes; left > 0; left -= CHUNK.length) {
    if (sink.destroyed) return false;
    if (!sink.write(left < CHUNK.length ? CHUNK.subarray(0, left) : CHUNK)) {
      await Promise.race([once(sink, 'drain').catch(() => undefined), closed]);
    }
  }
  return !sink.destroyed;
}
