// HTTP/1.1 byte by byte over a socket of its own: what `fetch` would refuse to send goes out as it is, and what comes back
// is kept as it came.
import { createConnection } from 'node:net';

/** A request as it goes over the wire. Characters up to U+00FF are single bytes, others UTF-8. */
export interface WireRequest {
  method: string;
  target: string;
  headers: readonly (readonly [name: string, value: string])[];
  body?: string | undefined;
}

/** What came back. */
export interface WireAnswer {
  status: number;
  headers: readonly (readonly [name: string, value: string])[];
  body: string;
  /** All of it. */
  raw: string;
}

const DEADLINE = 30_000;
/** A server that refuses a request of more bytes before it has read them may well reset the connection. */
const MAY_BE_CUT = 8_192;

/**
 * Sends one request and reads until the server closes.
 * @returns null when the connection was cut in the middle of sending something large
 * @throws {Error} when there is no answer in 30 seconds, or none that is HTTP
 */
export async function exchange(port: number, request: WireRequest): Promise<WireAnswer | null> {
  const bytes = written(request);
  const chunks: Buffer[] = [];
  await new Promise<void>((resolve, reject) => {
    const socket = createConnection({ port, host: '127.0.0.1' });
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`no answer within ${DEADLINE} ms`));
    }, DEADLINE);
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve();
    });
    // Not `end`: a server takes the end of a request's connection for its caller's farewell.
    socket.write(bytes);
  });
  const raw = Buffer.concat(chunks).toString('latin1');
  if (raw === '' && bytes.length > MAY_BE_CUT) return null;
  return parsed(raw);
}

/** The value of a header, or undefined. */
export function headerOf(answer: WireAnswer, name: string): string | undefined {
  return answer.headers.find(([one]) => one === name)?.[1];
}

/** All values of a header. */
export function headersOf(answer: WireAnswer, name: string): string[] {
  return answer.headers.filter(([one]) => one === name).map(([, value]) => value);
}

function written({ method, target, headers, body }: WireRequest): Buffer {
  const content = body === undefined ? undefined : bytesOf(body);
  const length = content === undefined ? [] : [['content-length', String(content.length)] as const];
  const lines = [...length, ...headers].map(([name, value]) => `${name}: ${value}\r\n`).join('');
  const head = bytesOf(`${method} ${target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n${lines}\r\n`);
  return content === undefined ? head : Buffer.concat([head, content]);
}

function bytesOf(text: string): Buffer {
  // By far the most texts are plain.
  if (!/[^\0-\x7f]/.test(text)) return Buffer.from(text, 'latin1');
  return Buffer.concat(
    Array.from(text, (character) => Buffer.from(character, character.codePointAt(0)! <= 0xff ? 'latin1' : 'utf8')),
  );
}

function parsed(raw: string): WireAnswer {
  const end = raw.indexOf('\r\n\r\n');
  const head = end < 0 ? raw : raw.slice(0, end);
  const [first = '', ...lines] = head.split('\r\n');
  const status = Number(/^HTTP\/1\.[01] (\d{3})\b/.exec(first)?.[1]);
  if (!Number.isInteger(status)) throw new Error(`no HTTP answer: ${JSON.stringify(raw.slice(0, 200))}`);
  const headers = lines.map((line) => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
  });
  return { status, headers, body: end < 0 ? '' : raw.slice(end + 4), raw };
}
