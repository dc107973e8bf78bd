// A browser as cheap as possible, since it shares its core with the provider and Postgres: one kept-alive connection
// per origin over a bare socket, a cookie jar, and nothing else. Plus the login as a person would click through it.
import { connect } from 'node:net';

/** One kept-alive HTTP/1.1 connection; requests one after the other. */
class Connection {
  #socket;
  #buffer = '';
  #waiting;
  #origin;

  constructor(origin) {
    this.#origin = new URL(origin);
  }

  #open() {
    const socket = connect({ host: this.#origin.hostname, port: Number(this.#origin.port), noDelay: true });
    socket.setEncoding('latin1');
    socket.on('data', (chunk) => {
      this.#buffer += chunk;
      this.#parse();
    });
    const lost = (error) => {
      if (this.#socket === socket) this.#socket = undefined;
      const waiting = this.#waiting;
      this.#waiting = undefined;
      waiting?.reject(error instanceof Error ? error : new Error('connection closed'));
    };
    socket.on('error', lost);
    socket.on('close', lost);
    this.#socket = socket;
    this.#buffer = '';
  }

  /** Chunked and sized bodies; answers of 204, 303 and the like may have none. */
  #parse() {
    const end = this.#buffer.indexOf('\r\n\r\n');
    if (end < 0 || !this.#waiting) return;
    const lines = this.#buffer.slice(0, end).split('\r\n');
    const status = Number(lines[0].slice(9, 12));
    const headers = lines.slice(1).map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    });
    const find = (name) => headers.find(([given]) => given === name)?.[1];
    let body;
    let rest;
    if (find('transfer-encoding') === 'chunked') {
      body = '';
      let at = end + 4;
      for (;;) {
        const line = this.#buffer.indexOf('\r\n', at);
        if (line < 0) return;
        const size = Number.parseInt(this.#buffer.slice(at, line), 16);
        if (this.#buffer.length < line + 2 + size + 2) return;
        body += this.#buffer.slice(line + 2, line + 2 + size);
        at = line + 2 + size + 2;
        if (size === 0) break;
      }
      rest = this.#buffer.slice(at);
    } else {
      const size = Number(find('content-length') ?? 0);
      if (this.#buffer.length < end + 4 + size) return;
      body = this.#buffer.slice(end + 4, end + 4 + size);
      rest = this.#buffer.slice(end + 4 + size);
    }
    this.#buffer = rest;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (find('connection') === 'close') {
      this.#socket?.destroy();
      this.#socket = undefined;
    }
    const cookies = headers.filter(([name]) => name === 'set-cookie').map(([, value]) => value);
    waiting.resolve({ status, body, cookies, location: find('location') });
  }

  send(method, path, headers, body = '') {
    if (!this.#socket) this.#open();
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      let text = `${method} ${path} HTTP/1.1\r\nHost: ${this.#origin.host}\r\n`;
      for (const name in headers) if (headers[name]) text += `${name}: ${headers[name]}\r\n`;
      if (method !== 'GET') text += `Content-Length: ${Buffer.byteLength(body)}\r\n`;
      this.#socket.write(`${text}\r\n${body}`);
    });
  }

  close() {
    this.#socket?.destroy();
  }
}

/** A browser with cookies per origin (host and port), which is stricter than a real one and does here. */
export class Browser {
  #connections = new Map();
  #jars = new Map();

  #of(map, origin, make) {
    if (!map.has(origin)) map.set(origin, make());
    return map.get(origin);
  }

  /** The Cookie header this browser would send to an origin. */
  cookie(origin) {
    return [...(this.#jars.get(origin) ?? [])].map(([name, value]) => `${name}=${value}`).join('; ');
  }

  /** Forgets all cookies, keeps the connections: the next person sits down. */
  forget() {
    this.#jars.clear();
  }

  async request(url, { method = 'GET', body, headers = {} } = {}) {
    const { origin, pathname, search } = new URL(url);
    const connection = this.#of(this.#connections, origin, () => new Connection(origin));
    const answer = await connection.send(
      method,
      pathname + search,
      {
        accept: 'text/html',
        'sec-fetch-mode': 'navigate',
        'sec-fetch-site': 'same-origin',
        cookie: this.cookie(origin),
        ...headers,
      },
      body,
    );
    const jar = this.#of(this.#jars, origin, () => new Map());
    for (const line of answer.cookies) {
      const pair = line.split(';', 1)[0];
      const equals = pair.indexOf('=');
      const gone = /;\s*max-age=0\b|expires=Thu, 01 Jan 1970/i.test(line);
      if (gone) jar.delete(pair.slice(0, equals));
      else jar.set(pair.slice(0, equals), pair.slice(equals + 1));
    }
    return answer;
  }

  close() {
    for (const connection of this.#connections.values()) connection.close();
  }
}

/**
 * One complete login: start, provider, callback and the first guarded request. Throws where anything but that happens.
 *
 * @param {Browser} browser
 * @param {{ origin: string, start: string | { path: string, body: object }, sub: string, issuer: string, stub: boolean }} login
 */
export async function logIn(browser, { origin, start, sub, issuer, stub }) {
  let location;
  if (typeof start === 'string') {
    const begun = await browser.request(origin + start);
    location = begun.location;
    if (begun.status !== 302 && begun.status !== 303)
      throw new Error(`login answered ${begun.status}: ${begun.body.slice(0, 300)}`);
  } else {
    const begun = await browser.request(origin + start.path, {
      method: 'POST',
      body: JSON.stringify(start.body),
      headers: { 'content-type': 'application/json', origin },
    });
    if (begun.status !== 200) throw new Error(`login answered ${begun.status}: ${begun.body.slice(0, 300)}`);
    location = JSON.parse(begun.body).url;
  }

  if (stub) {
    const asked = new URL(location).searchParams;
    const code = { sub, nonce: asked.get('nonce') ?? undefined, challenge: asked.get('code_challenge') ?? undefined };
    const back = new URLSearchParams({
      code: Buffer.from(JSON.stringify(code)).toString('base64url'),
      state: asked.get('state') ?? '',
    });
    location = `${asked.get('redirect_uri')}?${back}`;
  } else {
    for (let hop = 0; !location.startsWith(origin); hop++) {
      const answer = await browser.request(new URL(location, issuer).href);
      if (!answer.location || hop > 6)
        throw new Error(`provider answered ${answer.status}: ${answer.body.slice(0, 300)}`);
      location = new URL(answer.location, issuer).href;
    }
  }

  const landed = await browser.request(location);
  if (landed.status !== 302 && landed.status !== 303)
    throw new Error(`callback answered ${landed.status}: ${landed.body.slice(0, 300)}`);
  const first = await browser.request(`${origin}/bench`);
  if (first.status !== 200) throw new Error(`the guarded route answered ${first.status}: ${first.body.slice(0, 300)}`);
  return first;
}
