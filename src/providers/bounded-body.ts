// The whole body of a provider's answer, bounded: whoever sends more than any answer needs is not listened to further.
import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { ProviderError } from './provider-fault.js';

/** Largest body read from a provider, bytes after decompression. */
export const MAX_BODY_BYTES = 1024 * 1024;

/** An answer whose body is still to come. */
interface Unread {
  readonly status: number;
  readonly body: Readable | ReadableStream<Uint8Array> | null;
}

/**
 * Reads a body whole.
 * @throws {ProviderError} `provider_error` when it is larger than {@link MAX_BODY_BYTES}
 */
export async function readBounded({ status, body }: Unread, provider: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  const take = (chunk: Uint8Array): boolean => {
    size += chunk.byteLength;
    chunks.push(chunk);
    return size <= MAX_BODY_BYTES;
  };
  if (body instanceof Readable) await readBy(take, body);
  else for await (const chunk of body ?? []) if (!take(chunk)) break;
  if (size <= MAX_BODY_BYTES) return Buffer.concat(chunks, size);
  throw new ProviderError('provider_error', {
    provider,
    ambiguous: true,
    httpStatus: status,
    cause: new Error(`the answer is larger than ${MAX_BODY_BYTES} bytes`),
  });
}

/**
 * Reads a stream to its end; by its events, which cost less than its iterator.
 * @param take says whether to read on
 */
function readBy(take: (chunk: Uint8Array) => boolean, body: Readable): Promise<void> {
  return new Promise((resolve, reject) => {
    if (body.destroyed) return reject(body.errored ?? new Error('the answer broke off'));
    body.on('data', (chunk: Uint8Array) => {
      if (take(chunk)) return;
      resolve();
      body.destroy();
    });
    body.on('end', resolve);
    body.on('error', reject);
    body.on('close', () => body.readableEnded || reject(new Error('the answer broke off')));
  });
}
