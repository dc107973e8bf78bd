// Reads a request whole and turns it into its log entry.
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Endpoint, LoggedRequest } from './request-log.js';

/** More than any honest client sends; the rest is thrown away. */
const MOST_BYTES = 4 * 2 ** 20;

const connections = new WeakMap<Socket, { number: number; requests: number }>();
let connectionsSoFar = 0;

/** Reads the body and describes the request; `endpoint` is refined by the grant type. */
export async function readRequest(message: IncomingMessage, endpoint: Endpoint): Promise<LoggedRequest> {
  const at = Date.now();
  const rawUrl = message.url ?? '/';
  const [path = '/', ...query] = rawUrl.split('?');
  const connection = numbered(message.socket);
  const body = await readBody(message);
  const isForm = /^application\/x-www-form-urlencoded\b/i.test(message.headers['content-type'] ?? '');
  const form = new URLSearchParams(isForm ? body : '');
  return {
    endpoint: endpoint === 'token' ? byGrantType(form) : endpoint,
    method: message.method ?? 'GET',
    path,
    rawUrl,
    query: new URLSearchParams(query.join('?')),
    headers: message.headers,
    rawHeaders: message.rawHeaders,
    body,
    form,
    at,
    ...connection,
  };
}

async function readBody(message: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    if (size < MOST_BYTES) chunks.push(chunk);
    size += chunk.length;
  }
  return Buffer.concat(chunks).toString();
}

function byGrantType(form: URLSearchParams): Endpoint {
  const grantType = form.get('grant_type');
  if (grantType === 'refresh_token') return 'refresh';
  return grantType === 'authorization_code' ? 'code' : 'token';
}

function numbered(socket: Socket): { connection: number; requestOnConnection: number } {
  let entry = connections.get(socket);
  if (!entry) {
    connectionsSoFar += 1;
    entry = { number: connectionsSoFar, requests: 0 };
    connections.set(socket, entry);
  }
  entry.requests += 1;
  return { connection: entry.number, requestOnConnection: entry.requests };
}
