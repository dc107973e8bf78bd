// Every fault of FakeProvider by name: what it looks like on the wire, and what it leaves behind.
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import * as oidc from 'openid-client';
import { FakeProvider, type Endpoint, type Fault } from '../../../src/testing/index.js';
import { discover, failure, login } from './browser.js';

describe('FakeProvider, misbehaving', () => {
  let provider: FakeProvider;
  let config: oidc.Configuration;
  let token: string;

  beforeAll(async () => {
    provider = await FakeProvider.start();
  });
  afterAll(async () => {
    expect(provider.internalErrors).toEqual([]);
    await provider.close();
  });
  beforeEach(async () => {
    provider.reset();
    config = await discover(provider);
    token = (await login(config)).refresh_token ?? '';
  });

  /** One refresh as raw HTTP. */
  const refresh = (signal?: AbortSignal): Promise<Response> =>
    fetch(provider.endpoint('token'), {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'refresh_token',
        refresh_token: token,
        client_id: 'client',
        client_secret: 'secret',
      }),
      redirect: 'manual',
      ...(signal ? { signal } : {}),
    });

  /** The socket's error code. */
  const refusedBy = (answer: Promise<Response>): Promise<unknown> =>
    answer.then(
      ({ status }) => status,
      (error: { cause?: { code?: string } }) => error.cause?.code,
    );

  /** What an independent client makes of a fault. */
  const judged = (fault: Fault): Promise<string> => {
    provider.fault('refresh', fault);
    return failure(oidc.refreshTokenGrant(config, token));
  };

  it('status: 500, 429 with Retry-After, 401 with a challenge, and the genuine body under a wrong status', async () => {
    provider.fault('refresh', { kind: 'status', status: 500, times: 1 });
    provider.fault('refresh', { kind: 'status', status: 429, retryAfter: 7, times: 1 });
    provider.fault('refresh', { kind: 'status', status: 401, times: 1 });
    provider.fault('refresh', { kind: 'status', status: 202, processed: true, times: 1 });
    expect((await refresh()).status).toBe(500);
    const limited = await refresh();
    expect([limited.status, limited.headers.get('retry-after')]).toEqual([429, '7']);
    expect((await refresh()).headers.get('www-authenticate')).toContain('Bearer');
    expect(provider.refreshCount).toBe(0);
    const processed = await refresh();
    expect([processed.status, await processed.json()]).toEqual([
      202,
      expect.objectContaining({ token_type: 'Bearer' }),
    ]);
    expect(provider.requestsTo('refresh').map(({ fault }) => fault)).toEqual(Array(4).fill('status'));
  });

  it('oauthError: any code under any status', async () => {
    expect(await judged({ kind: 'oauthError', error: 'invalid_client', status: 401 })).toBe('invalid_client');
    provider.clearFaults();
    provider.fault('refresh', { kind: 'oauthError', error: 'bad_verification_code', status: 200, description: 'no' });
    const answer = await refresh();
    expect([answer.status, await answer.json()]).toEqual([
      200,
      { error: 'bad_verification_code', error_description: 'no' },
    ]);
    expect(provider.refreshCount).toBe(0);
  });

  it('latency: waits first, and combines with another fault', async () => {
    provider.fault('refresh', { kind: 'latency', ms: [150, 200] });
    provider.fault('refresh', { kind: 'status', status: 503, times: 1 });
    const began = performance.now();
    expect((await refresh()).status).toBe(503);
    expect((await refresh()).status).toBe(200);
    expect(performance.now() - began).toBeGreaterThan(290);
  });

  it('stall: silent before the headers, or in mid-body after processing', async () => {
    provider.fault('refresh', { kind: 'stall', times: 1 });
    await expect(refresh(AbortSignal.timeout(150))).rejects.toThrow('timeout');
    expect(provider.refreshCount).toBe(0);
    provider.fault('refresh', { kind: 'stall', at: 'body' });
    const answer = await refresh(AbortSignal.timeout(1000));
    expect(answer.status).toBe(200);
    await expect(answer.text()).rejects.toThrow('timeout');
    expect(provider.refreshCount).toBe(1);
  });

  it('drip and slow: the whole answer, in its own time', async () => {
    provider.fault('refresh', { kind: 'drip', intervalMs: 1, times: 1 });
    expect(await (await refresh()).json()).toMatchObject({ token_type: 'Bearer' });
    provider.fault('userinfo', { kind: 'slow', ms: 200 });
    const { value } = provider.issued.findLast(({ kind }) => kind === 'accessToken') ?? { value: '' };
    const began = performance.now();
    expect(await oidc.fetchUserInfo(config, value, 'user-1')).toMatchObject({ sub: 'user-1' });
    // Timers may be early by as long as the event loop was busy before.
    expect(performance.now() - began).toBeGreaterThan(150);
  });

  it('drip: one byte per second unless told otherwise', async () => {
    provider.fault('refresh', { kind: 'drip' });
    const { body } = await refresh(AbortSignal.timeout(1700));
    const pieces: Uint8Array[] = [];
    await expect(
      (async () => {
        for await (const piece of body as AsyncIterable<Uint8Array>) pieces.push(piece);
      })(),
    ).rejects.toThrow('timeout');
    expect(Buffer.concat(pieces).toString()).toBe('{');
  });

  it.each<[string, Fault]>([
    ['closed', { kind: 'truncated' }],
    ['contentLength', { kind: 'truncated', how: 'contentLength' }],
  ])('truncated (%s): ends before the promised length', async (_, fault) => {
    provider.fault('refresh', fault);
    const answer = await refresh();
    expect(answer.status).toBe(200);
    await expect(answer.text()).rejects.toThrow('terminated');
    expect(provider.refreshCount).toBe(1);
  });

  it('reset and lostAnswer: the same to the caller, not to the provider', async () => {
    provider.fault('refresh', { kind: 'reset', times: 1 });
    provider.fault('refresh', { kind: 'lostAnswer', times: 1 });
    const causes: unknown[] = [];
    for (const expected of [0, 1]) {
      causes.push(await refusedBy(refresh()));
      expect(provider.refreshCount).toBe(expected);
    }
    expect(causes).toEqual(['ECONNRESET', 'ECONNRESET']);
    expect(await (await refresh()).json()).toMatchObject({ error: 'invalid_grant' });
    expect(provider.familiesRevoked).toBe(1);
  });

  it('lateAnswer: processes at once, answers later', async () => {
    provider.fault('refresh', { kind: 'lateAnswer', ms: 30_000 });
    await expect(refresh(AbortSignal.timeout(700))).rejects.toThrow('timeout');
    expect(provider.refreshCount).toBe(1);
    provider.clearFaults();
    provider.fault('userinfo', { kind: 'lateAnswer', ms: 100 });
    const { value } = provider.issued.find(({ kind }) => kind === 'accessToken') ?? { value: '' };
    expect(await oidc.fetchUserInfo(config, value, 'user-1')).toMatchObject({ sub: 'user-1' });
  });

  it('oversize: a valid object of that many bytes', async () => {
    provider.fault('refresh', { kind: 'oversize', times: 1 });
    let bytes = 0;
    for await (const chunk of (await refresh()).body as AsyncIterable<Uint8Array>) bytes += chunk.length;
    expect(bytes).toBe(64 * 2 ** 20);
    provider.fault('refresh', { kind: 'oversize', bytes: 100_001 });
    expect(await (await refresh()).json()).toMatchObject({ token_type: 'bearer' });
  });

  it('endless: never stops, and stops when the caller does', async () => {
    provider.fault('refresh', { kind: 'endless' });
    const stop = new AbortController();
    let bytes = 0;
    for await (const chunk of (await refresh(stop.signal)).body as AsyncIterable<Uint8Array>) {
      bytes += chunk.length;
      if (bytes > 80 * 2 ** 20) break;
    }
    stop.abort();
    expect(bytes).toBeGreaterThan(80 * 2 ** 20);
    await provider.idle();
    expect(provider.requestsTo('refresh')[0]?.abortedAt).toEqual(expect.any(Number));
  });

  it('gzipBomb: small on the wire, huge when unpacked', async () => {
    provider.fault('refresh', { kind: 'gzipBomb', bytes: 8 * 2 ** 20, times: 1 });
    const body = (await (await refresh()).json()) as { padding: string };
    expect(body.padding.length).toBeGreaterThan(8_000_000);
    provider.fault('discovery', { kind: 'gzipBomb' });
    const raw = await new Promise<IncomingMessage>((resolve) =>
      get(`${provider.issuer}/.well-known/openid-configuration`, resolve),
    );
    let bytes = 0;
    raw.on('data', (chunk: Buffer) => (bytes += chunk.length));
    await once(raw, 'end');
    expect(raw.headers['content-encoding']).toBe('gzip');
    expect(bytes).toBeLessThan(4 * 2 ** 20);
  });

  it.each<[Fault, unknown]>([
    [{ kind: 'null' }, null],
    [{ kind: 'array' }, []],
    [{ kind: 'string' }, 'x'],
    [{ kind: 'number' }, 123],
    [{ kind: 'emptyObject' }, {}],
  ])('%p: JSON that is no answer', async (fault, body) => {
    expect(await judged(fault)).toBe('OAUTH_INVALID_RESPONSE');
    const answer = await refresh();
    expect(answer.headers.get('content-type')).toBe('application/json');
    expect(await answer.json()).toEqual(body);
    expect(provider.refreshCount).toBe(0);
  });

  it('emptyBody, bom, nul, doubledKeys, protoKeys: the bytes of the answer', async () => {
    const texts: string[] = [];
    for (const kind of ['emptyBody', 'bom', 'nul', 'doubledKeys', 'protoKeys'] as const) {
      const handle = provider.fault('refresh', { kind });
      texts.push(Buffer.from(await (await refresh()).arrayBuffer()).toString());
      handle.clear();
      token = provider.issued.findLast((issued) => issued.kind === 'refreshToken')?.value ?? '';
    }
    expect(texts[0]).toBe('');
    expect(texts[1]).toMatch(/^\ufeff\{"access_token"/);
    expect(texts[2]).toContain('\0');
    expect(texts[3]?.match(/"access_token":/g)).toHaveLength(2);
    expect(JSON.parse(texts[3] ?? '').access_token).toBe('doubled');
    expect(texts[4]).toMatch(/^\{"__proto__":\{"polluted":true\}/);
    expect(provider.refreshCount).toBe(4);
  });

  it('deepNesting: a million arrays, or as many as asked', async () => {
    provider.fault('refresh', { kind: 'deepNesting', times: 1 });
    expect((await (await refresh()).text()).match(/\[/g)).toHaveLength(1_000_000);
    provider.fault('refresh', { kind: 'deepNesting', depth: 3 });
    expect(await (await refresh()).text()).toBe('{"access_token":[[[]]]}');
  });

  it('html, text, noContentType: wrong wrapping around nothing, JSON or a form', async () => {
    provider.fault('refresh', { kind: 'html', times: 1 });
    provider.fault('refresh', { kind: 'text', carry: 'json', times: 1 });
    provider.fault('refresh', { kind: 'noContentType', carry: 'form', times: 1 });
    const page = await refresh();
    expect([page.headers.get('content-type'), await page.text()]).toEqual([
      'text/html',
      expect.stringContaining('<html>'),
    ]);
    const text = await refresh();
    const body = (await text.json()) as { refresh_token: string };
    expect([text.headers.get('content-type'), body]).toEqual([
      'text/plain',
      expect.objectContaining({ expires_in: 3600 }),
    ]);
    token = body.refresh_token;
    const bare = await refresh();
    expect(bare.headers.get('content-type')).toBeNull();
    expect(new URLSearchParams(await bare.text()).get('expires_in')).toBe('3600');
    expect(await judged({ kind: 'html' })).toBe('OAUTH_RESPONSE_IS_NOT_JSON');
  });

  it('raw: whatever is given', async () => {
    provider.fault('refresh', {
      kind: 'raw',
      body: 'access_token=x',
      contentType: 'application/x-www-form-urlencoded',
      times: 1,
    });
    expect(await (await refresh()).text()).toBe('access_token=x');
    provider.fault('refresh', {
      kind: 'raw',
      body: Uint8Array.of(0xff),
      contentType: null,
      status: 418,
      headers: { 'x-y': 'z' },
    });
    const odd = await refresh();
    expect([odd.status, odd.headers.get('x-y'), odd.headers.get('content-type')]).toEqual([418, 'z', null]);
  });

  it.each([301, 302, 303, 307, 308] as const)(
    'redirect: %i, by default to the trap, also with the JSON of a real answer',
    async (status) => {
      expect(await judged({ kind: 'redirect', status })).not.toBe('');
      expect(provider.requestsTo('trap')).toEqual([]);
      const answer = await refresh();
      expect([answer.status, answer.headers.get('location')]).toEqual([status, `${provider.trapUrl}/redirected`]);
      provider.clearFaults('refresh');
      provider.fault('refresh', { kind: 'redirect', status, location: 'http://evil.example/', withJson: true });
      const believed = await refresh();
      expect([believed.headers.get('location'), await believed.json()]).toEqual([
        'http://evil.example/',
        expect.objectContaining({ token_type: 'Bearer' }),
      ]);
    },
  );

  it('strikes as often, as late and as selectively as told, in order, until cleared', async () => {
    const second = provider.fault('refresh', { kind: 'status', status: 500, after: 1, times: 1 });
    const marked = provider.fault('token', { kind: 'status', status: 418, when: ({ form }) => form.has('mark') });
    const statuses: number[] = [];
    for (let turn = 0; turn < 3; turn += 1) {
      const answer = await refresh();
      statuses.push(answer.status);
      if (answer.ok) token = ((await answer.json()) as { refresh_token: string }).refresh_token;
    }
    expect(statuses).toEqual([200, 500, 200]);
    const body = new URLSearchParams({ mark: '1' });
    expect((await fetch(provider.endpoint('token'), { method: 'POST', body })).status).toBe(418);
    expect([second.hits, marked.hits]).toEqual([1, 1]);
    marked.clear();
    expect((await fetch(provider.endpoint('token'), { method: 'POST', body })).status).toBe(400);
  });

  it.each<[Endpoint, () => string]>([
    ['discovery', () => `${provider.issuer}/.well-known/openid-configuration`],
    ['jwks', () => provider.endpoint('jwks')],
    ['authorize', () => provider.endpoint('authorize')],
    ['token', () => provider.endpoint('token')],
    ['userinfo', () => provider.endpoint('userinfo')],
    ['revocation', () => provider.endpoint('revoke')],
    ['par', () => provider.endpoint('par')],
    ['endSession', () => provider.endpoint('end_session')],
    ['api', () => `${provider.apiUrl}/x`],
  ])('has faults at every endpoint: %s', async (endpoint, address) => {
    provider.fault(endpoint, { kind: 'status', status: 503, retryAfter: 3 });
    const answer = await fetch(address());
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '3']);
    expect(provider.requestsTo(endpoint).at(-1)).toMatchObject({ fault: 'status', status: 503 });
  });

  it('goes down and comes back on the same ports, with everything it knew', async () => {
    const { url, apiUrl } = provider;
    await provider.goDown();
    await refresh().catch(() => 'the connection that was open');
    expect(await refusedBy(refresh())).toBe('ECONNREFUSED');
    await provider.comeBack();
    expect([provider.url, provider.apiUrl]).toEqual([url, apiUrl]);
    expect((await refresh()).status).toBe(200);
  });

  it('comes back once, however often it is told', async () => {
    await provider.comeBack();
    expect((await refresh()).status).toBe(200);
  });

  it('listens nowhere when one of its ports is taken, so that the process of the tests can end', async () => {
    const [taken, free] = await Promise.all([FakeProvider.start(), FakeProvider.start()]);
    await free.close();
    const ports = { port: Number(new URL(free.url).port), apiPort: Number(new URL(taken.apiUrl).port) };
    await expect(FakeProvider.start(ports)).rejects.toMatchObject({ code: 'EADDRINUSE' });
    expect(await refusedBy(fetch(free.url))).toBe('ECONNREFUSED');
    await taken.close();
  });

  it.each<[string, (broken: FakeProvider) => string]>([
    ['GET', (broken) => broken.endpoint('jwks')],
    ['POST', (broken) => broken.endpoint('token')],
  ])(
    'answers a %s that fails by a mistake in the test with 500 at once, and keeps the mistake',
    async (method, url) => {
      await using broken = await FakeProvider.start();
      const mistake = new Error('a mistake in the test');
      const thrown = (): never => {
        throw mistake;
      };
      broken.tamper('jwks', thrown);
      broken.fault('token', { kind: 'reset', when: thrown });
      const body = method === 'POST' ? new URLSearchParams({ grant_type: 'refresh_token' }) : null;
      const answer = await fetch(url(broken), { method, body, signal: AbortSignal.timeout(5_000) });
      expect([answer.status, await answer.text()]).toEqual([500, expect.stringContaining('a mistake in the test')]);
      expect(broken.internalErrors).toEqual([mistake]);
      broken.reset();
      expect(broken.internalErrors).toEqual([]);
    },
  );

  it('strikes only reused connections if asked', async () => {
    provider.fault('refresh', { kind: 'reset', when: ({ requestOnConnection }) => requestOnConnection > 1, times: 1 });
    const outcomes = [await refusedBy(refresh()), await refusedBy(refresh())];
    expect(outcomes.filter((outcome) => outcome === 'ECONNRESET')).toHaveLength(1);
    const struck = provider.requestsTo('refresh').find(({ fault }) => fault === 'reset');
    expect(struck?.requestOnConnection).toBeGreaterThan(1);
  });

  it('holds requests before or after they are processed', async () => {
    const after = provider.hold('refresh');
    const answer = refresh();
    expect((await after.arrived).form.get('refresh_token')).toBe(token);
    expect(provider.refreshCount).toBe(1);
    after.release();
    token = ((await (await answer).json()) as { refresh_token: string }).refresh_token;
    const before = provider.hold('refresh', 'before');
    const second = refresh();
    await before.arrived;
    expect(provider.refreshCount).toBe(1);
    before.release();
    expect((await second).status).toBe(200);
    const seen: string[] = [];
    provider.interpose('refresh', { before: ({ endpoint }) => seen.push(endpoint), times: 1 });
    await refresh();
    await refresh();
    expect(seen).toEqual(['refresh']);
  });
});
