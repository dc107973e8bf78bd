// The body of a form_post callback as one form-encoded text, whatever the application's body parser made of it.
import type { Readable } from 'node:stream';
import { OAuthError } from '../errors/oauth-error.js';
import type { WebRequest } from '../sessions/web-request.js';
import { MAX_CALLBACK_LENGTH } from './callback-parameters.js';

/**
 * Reads a form body from a parsed object, a string, a Buffer or the unread stream.
 * @throws {OAuthError} `invalid_request` for another content type, and for what is too long or no flat form
 */
export async function formBody(request: WebRequest): Promise<string> {
  const type = (request.header('content-type') ?? '').split(';', 1)[0]!.trim().toLowerCase();
  if (type !== 'application/x-www-form-urlencoded')
    throw new OAuthError('invalid_request', {
      cause: new Error('the content type must be application/x-www-form-urlencoded'),
    });
  const { body } = request.native;
  if (typeof body === 'string') return bounded(body);
  if (Buffer.isBuffer(body)) return bounded(body.toString('utf8'));
  if (typeof body === 'object' && body !== null) return bounded(reencoded(body));
  const text = bounded(await unread(request));
  // The stream is used up now; whoever asks again finds what it held.
  request.native.body = text;
  return text;
}

/**
 * The parameters of a posted callback: those in the body, and only those.
 * @throws {OAuthError} as {@link formBody}, and `invalid_request` when the URL carries callback parameters as well
 */
export async function postedParameters(request: WebRequest): Promise<string> {
  for (const name of new URLSearchParams(request.queryString).keys()) {
    if (/^(state|code|error|iss|response)\b/.test(name)) throw malformed();
  }
  return formBody(request);
}

/** A parsed body is taken apart again: lists and objects are repeated or bracketed parameters. */
function reencoded(body: object): string {
  const form = new URLSearchParams();
  for (const [name, value] of Object.entries(body)) {
    if (typeof value !== 'string') throw malformed();
    form.append(name, value);
  }
  return form.toString();
}

async function unread(request: WebRequest): Promise<string> {
  const stream = (request.native.raw ?? request.native) as unknown as Readable;
  if (typeof stream[Symbol.asyncIterator] !== 'function' || stream.readableEnded) return '';
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += (chunk as Buffer).length;
    if (size > MAX_CALLBACK_LENGTH) throw malformed();
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function bounded(text: string): string {
  if (text.length > MAX_CALLBACK_LENGTH) throw malformed();
  return text;
}

function malformed(): OAuthError {
  return new OAuthError('invalid_request', {
    cause: new Error('callback: the parameters are no flat form of at most 8 KB in the body alone'),
  });
}
