// What an endpoint wants to say, before faults and the wire have had their turn.

/** An HTTP answer in full. */
export interface Answer {
  status: number;
  headers: Record<string, string | string[]>;
  body: string | Buffer;
}

/** A refusal in the words of the protocol, thrown by endpoints. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';

  constructor(
    /** `error` of the answer. */
    readonly error: string,
    /** `error_description` of the answer. */
    readonly description: string,
    readonly status = 400,
    readonly headers: Record<string, string> = {},
  ) {
    super(`${error}: ${description}`);
  }
}

const NO_STORE = { 'cache-control': 'no-store', pragma: 'no-cache' };

/** A JSON answer that is not to be cached. */
export function json(body: unknown, status = 200, headers: Record<string, string> = {}): Answer {
  const text = JSON.stringify(body) ?? 'null';
  return { status, headers: { 'content-type': 'application/json', ...NO_STORE, ...headers }, body: text };
}

/** A page. */
export function html(body: string, status = 200): Answer {
  const page = `<!doctype html><html><head><meta charset="utf-8"><title>FakeProvider</title></head><body>${body}</body></html>`;
  return { status, headers: { 'content-type': 'text/html; charset=utf-8', ...NO_STORE }, body: page };
}

/** A redirect: 302 for a GET, 303 for a POST. */
export function redirect(location: string, status = 302): Answer {
  return { status, headers: { location, ...NO_STORE }, body: '' };
}

/** The JSON answer for a refusal. */
export function refusal(error: ProtocolError): Answer {
  return json({ error: error.error, error_description: error.description }, error.status, error.headers);
}

/** Text made safe for HTML content and double-quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
