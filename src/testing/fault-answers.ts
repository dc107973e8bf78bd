// Carries a fault out on the wire. The genuine answer is made only where the fault needs it ("processed").
import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { json, type Answer } from './answer.js';
import { pourEndless, pourGzipBomb, pourOversize } from './fault-floods.js';
import type { Carried, Fault } from './faults.js';

/** What a fault may use. */
export interface FaultStage {
  response: ServerResponse;
  /** Processes the request and returns the answer it deserves. */
  genuine: () => Promise<Answer>;
  /** Where redirects go that name no location. */
  trapUrl: string;
  /** Aborted when the provider closes. */
  signal: AbortSignal;
}

type Played<K extends Fault['kind']> = Extract<Fault, { kind: K }>;

/** Lets a fault happen. Resolves when nothing more will be written. */
export async function playFault(fault: Fault, stage: FaultStage): Promise<void> {
  const { response, genuine } = stage;
  switch (fault.kind) {
    case 'latency':
      return send(response, await genuine());
    case 'status':
      return send(response, await statusAnswer(fault, genuine));
    case 'oauthError':
      return send(response, errorAnswer(fault));
    case 'stall':
      return fault.at === 'body' ? half(response, await genuine()) : undefined;
    case 'drip':
      return trickle(stage, await genuine(), 1, fault.intervalMs ?? 1000);
    case 'slow': {
      const answer = await genuine();
      const size = Buffer.byteLength(answer.body);
      const piece = Math.max(1, Math.ceil(size / 20));
      return trickle(stage, answer, piece, fault.ms / Math.max(1, Math.ceil(size / piece)));
    }
    case 'truncated':
      return truncate(response, await genuine(), fault.how ?? 'closed');
    case 'reset':
      return reset(response);
    case 'oversize':
      return pourOversize(response, fault.bytes ?? 64 * 2 ** 20);
    case 'endless':
      return pourEndless(response);
    case 'gzipBomb':
      return pourGzipBomb(response, fault.bytes ?? 256 * 2 ** 20);
    case 'lostAnswer':
      await genuine();
      return reset(response);
    case 'lateAnswer': {
      const answer = await genuine();
      await sleep(fault.ms, undefined, { signal: stage.signal });
      return send(response, answer);
    }
    case 'redirect':
      return send(response, await redirectAnswer(fault, stage));
    case 'html':
    case 'text':
    case 'noContentType':
      return send(response, await mislabelled(fault.kind, fault.carry ?? 'own', genuine));
    default:
      return send(response, await bodyAnswer(fault, genuine));
  }
}

/** Writes an answer as it is. */
export function send(response: ServerResponse, answer: Answer): void {
  if (response.destroyed || response.writableEnded) return;
  const headers = { 'content-length': String(Buffer.byteLength(answer.body)), ...answer.headers };
  response.writeHead(answer.status, headers).end(answer.body);
}

async function statusAnswer(fault: Played<'status'>, genuine: FaultStage['genuine']): Promise<Answer> {
  const headers: Record<string, string> = { ...fault.headers };
  if (fault.retryAfter !== undefined) headers['retry-after'] = String(fault.retryAfter);
  if (fault.status === 401) headers['www-authenticate'] ??= 'Bearer error="invalid_token"';
  if (fault.processed) {
    const answer = await genuine();
    return { ...answer, status: fault.status, headers: { ...answer.headers, ...headers } };
  }
  headers['content-type'] = fault.contentType ?? 'text/plain';
  return { status: fault.status, headers, body: fault.body ?? `status ${fault.status}` };
}

function errorAnswer(fault: Played<'oauthError'>): Answer {
  const headers: Record<string, string> = {};
  if (fault.retryAfter !== undefined) headers['retry-after'] = String(fault.retryAfter);
  return json(
    { error: fault.error, error_description: fault.description, error_uri: fault.uri },
    fault.status ?? 400,
    headers,
  );
}

async function redirectAnswer(fault: Played<'redirect'>, stage: FaultStage): Promise<Answer> {
  const answer = fault.withJson ? await stage.genuine() : { headers: {}, body: '' };
  const location = fault.location ?? `${stage.trapUrl}/redirected`;
  return { status: fault.status ?? 302, headers: { ...answer.headers, location }, body: answer.body };
}

async function mislabelled(
  kind: 'html' | 'text' | 'noContentType',
  carry: Carried,
  genuine: FaultStage['genuine'],
): Promise<Answer> {
  const headers: Record<string, string> =
    kind === 'noContentType' ? {} : { 'content-type': kind === 'html' ? 'text/html' : 'text/plain' };
  if (carry === 'own') return { status: 200, headers, body: '<html><body>Please log in to the network.</body></html>' };
  const answer = await genuine();
  const body = carry === 'json' ? answer.body : formEncode(String(answer.body));
  return { status: answer.status, headers, body };
}

/** A JSON object's members as form fields; what is not text or a number becomes JSON. */
export function formEncode(text: string): string {
  const members = Object.entries(JSON.parse(text) as Record<string, unknown>);
  const fields = members.map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]);
  return new URLSearchParams(fields as [string, string][]).toString();
}

type BodyFault = Played<
  | 'raw'
  | 'null'
  | 'array'
  | 'string'
  | 'number'
  | 'emptyObject'
  | 'emptyBody'
  | 'bom'
  | 'nul'
  | 'doubledKeys'
  | 'protoKeys'
  | 'deepNesting'
>;

async function bodyAnswer(fault: BodyFault, genuine: FaultStage['genuine']): Promise<Answer> {
  switch (fault.kind) {
    case 'raw': {
      const headers: Record<string, string> = { ...fault.headers };
      if (fault.contentType !== null) headers['content-type'] = fault.contentType ?? 'application/json';
      return {
        status: fault.status ?? 200,
        headers,
        body: typeof fault.body === 'string' ? fault.body : Buffer.from(fault.body),
      };
    }
    case 'null':
      return json(null);
    case 'array':
      return json([]);
    case 'string':
      return json('x');
    case 'number':
      return json(123);
    case 'emptyObject':
      return json({});
    case 'emptyBody':
      return { ...json({}), body: '' };
    case 'deepNesting': {
      const depth = fault.depth ?? 1_000_000;
      return { ...json({}), body: `{"access_token":${'['.repeat(depth)}${']'.repeat(depth)}}` };
    }
    case 'bom':
      return rewritten(await genuine(), (text) => `\ufeff${text}`);
    case 'nul':
      return rewritten(await genuine(), (text) => `${text.slice(0, -1)}\0}`);
    case 'doubledKeys':
      return rewritten(
        await genuine(),
        (text) => `${text.slice(0, -1)},${JSON.stringify(fault.member ?? 'access_token')}:"doubled"}`,
      );
    case 'protoKeys':
      return rewritten(
        await genuine(),
        (text) => `{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},${text.slice(1)}`,
      );
  }
}

function rewritten(answer: Answer, change: (text: string) => string): Answer {
  return { ...answer, body: change(String(answer.body)) };
}

function half(response: ServerResponse, answer: Answer): void {
  const bytes = Buffer.from(answer.body);
  response.writeHead(answer.status, { ...answer.headers, 'content-length': String(bytes.length) });
  response.write(bytes.subarray(0, bytes.length >> 1));
}

function truncate(response: ServerResponse, answer: Answer, how: 'closed' | 'contentLength'): void {
  const bytes = Buffer.from(answer.body);
  const promised = how === 'closed' ? bytes.length : bytes.length + 100;
  const sent = how === 'closed' ? bytes.subarray(0, bytes.length >> 1) : bytes;
  response.writeHead(answer.status, { ...answer.headers, 'content-length': String(promised) });
  response.write(sent, () => response.socket?.end());
}

async function trickle({ response, signal }: FaultStage, answer: Answer, piece: number, pause: number): Promise<void> {
  const bytes = Buffer.from(answer.body);
  response.writeHead(answer.status, { ...answer.headers, 'content-length': String(bytes.length) });
  for (let at = 0; at < bytes.length && !response.destroyed; at += piece) {
    await sleep(pause, undefined, { signal });
    response.write(bytes.subarray(at, at + piece));
  }
  if (!response.destroyed) response.end();
}

function reset(response: ServerResponse): void {
  const { socket } = response;
  // A TLS socket has no reset of its own; destroying it closes the connection without an answer all the same.
  if (socket && 'resetAndDestroy' in socket && !('encrypted' in socket)) socket.resetAndDestroy();
  else socket?.destroy();
}
