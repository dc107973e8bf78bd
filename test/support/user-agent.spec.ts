import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { UserAgent } from './user-agent.js';

type Seen = { method: string; url: string; headers: IncomingMessage['headers']; body: string };

describe('UserAgent', () => {
  const seen: Seen[] = [];
  let routes: Record<string, (response: ServerResponse) => void> = {};
  let here = '';
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    seen.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body });
    const route = routes[request.url?.split('?')[0] ?? ''];
    if (route) route(response);
    else response.end('ok');
  });
  const to =
    (location: string, status = 302, headers: Record<string, string> = {}) =>
    (response: ServerResponse) =>
      response.writeHead(status, { location, ...headers }).end();
  const last = () => seen.at(-1) as Seen;

  beforeAll(async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    here = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => new Promise((done) => server.close(done)));
  beforeEach(() => {
    seen.length = 0;
    routes = {};
  });

  const origins = () => ({ 'https://app.example': here, 'https://login.other': here, 'https://sub.app.example': here });

  it('speaks as a typed navigation does, and records each hop of the redirects', async () => {
    routes = { '/a': to('/b', 302, { 'set-cookie': 'one=1' }), '/b': to('/c?x=1', 303) };
    const agent = new UserAgent();
    const page = await agent.navigate(`${here}/a`);
    expect(page).toMatchObject({ status: 200, url: `${here}/c?x=1`, body: 'ok' });
    expect(page.hops.map(({ status, setCookies }) => [status, setCookies])).toEqual([
      [302, ['one=1']],
      [303, []],
      [200, []],
    ]);
    expect(agent.history).toHaveLength(3);
    const fetchMetadata = { 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
    expect(last().headers).toMatchObject({
      ...fetchMetadata,
      cookie: 'one=1',
      accept: expect.stringContaining('text/html'),
    });
    expect(last().headers).not.toHaveProperty('origin');
  });

  it('stops at 15 redirects, or at the first when asked', async () => {
    routes = { '/loop': to('/loop') };
    await expect(new UserAgent().navigate(`${here}/loop`)).rejects.toThrow('More than 15 redirects');
    expect((await new UserAgent().navigate(`${here}/loop`, { followRedirects: false })).status).toBe(302);
  });

  it('turns a POST into a GET at 303, and repeats it at 307', async () => {
    routes = { '/see': to('/end', 303), '/again': to('/end', 307) };
    const agent = new UserAgent();
    await agent.navigate(`${here}/see`, { form: { a: 'b c' } });
    expect(seen.map(({ method, body }) => [method, body])).toEqual([
      ['POST', 'a=b+c'],
      ['GET', ''],
    ]);
    expect(last().headers).not.toHaveProperty('content-type');
    await agent.navigate(`${here}/again`, { form: { a: 'b' } });
    expect(last()).toMatchObject({ method: 'POST', body: 'a=b', url: '/end' });
  });

  it('takes an https origin for what it is, wherever it is really served', async () => {
    routes = { '/set': to('/', 303, { 'set-cookie': '__Host-s=1; Secure; HttpOnly; Path=/; SameSite=Lax' }) };
    const agent = new UserAgent({ origins: origins() });
    await agent.navigate('https://app.example/set');
    expect(last().headers).toMatchObject({ host: 'app.example', 'x-forwarded-proto': 'https', cookie: '__Host-s=1' });
    expect(agent.cookie('__Host-s')).toBe('1');
  });

  it('says where a request comes from, and withholds Lax cookies from a foreign POST', async () => {
    const agent = new UserAgent({ origins: origins() });
    agent.jar.plant({ name: 'lax', value: '1', domain: 'app.example', secure: true });
    const from = 'https://login.other/page?secret';
    await agent.navigate('https://app.example/', { from });
    expect(last().headers).toMatchObject({
      'sec-fetch-site': 'cross-site',
      cookie: 'lax=1',
      referer: 'https://login.other/',
    });
    await agent.navigate('https://app.example/', { from, form: {} });
    expect(last().headers).toMatchObject({ 'sec-fetch-site': 'cross-site', origin: 'https://login.other' });
    expect(last().headers).not.toHaveProperty('cookie');
    await agent.navigate('https://app.example/', { from: 'https://sub.app.example/', form: {} });
    expect(last().headers).toMatchObject({ 'sec-fetch-site': 'same-site', cookie: 'lax=1' });
    await agent.navigate('https://app.example/', { from, destination: 'iframe' });
    expect(last().headers).toMatchObject({ 'sec-fetch-dest': 'iframe', 'sec-fetch-mode': 'navigate' });
    expect(last().headers).not.toHaveProperty('cookie');
  });

  it('says cross-site of a way that led through another site', async () => {
    routes = { '/out': to('https://login.other/back'), '/back': to('https://app.example/end') };
    const agent = new UserAgent({ origins: origins() });
    await agent.navigate('https://app.example/out', { from: 'https://app.example/' });
    expect(seen.map(({ headers }) => headers['sec-fetch-site'])).toEqual(['same-origin', 'cross-site', 'cross-site']);
  });

  it('sends Origin null for a form of a page without referrer', async () => {
    const form =
      '<form method="post" action="/there"><input type=hidden name=a value="&quot;1&quot;"><button name=b value=2>Go</button></form>';
    routes = { '/page': (response) => void response.setHeader('referrer-policy', 'no-referrer').end(form) };
    const agent = new UserAgent();
    await agent.navigate(`${here}/page`);
    await agent.submitForm(undefined, { button: 'Go', fields: { extra: 'x' } });
    expect(last()).toMatchObject({ url: '/there', method: 'POST', body: 'a=%221%22&extra=x&b=2' });
    expect(last().headers).toMatchObject({ origin: 'null', 'sec-fetch-site': 'same-origin' });
    expect(last().headers).not.toHaveProperty('referer');
  });

  it('calls as a script does', async () => {
    const agent = new UserAgent({ origins: origins() });
    agent.jar.plant({ name: 's', value: '1', domain: 'app.example' });
    await agent.fetch('https://app.example/api', { method: 'DELETE' });
    const own = { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' };
    expect(last().headers).toMatchObject({ ...own, cookie: 's=1', origin: 'https://app.example' });
    await agent.fetch('https://app.example/api', { from: 'https://login.other/', credentials: 'include' });
    expect(last().headers).toMatchObject({ 'sec-fetch-site': 'cross-site', origin: 'https://login.other' });
    expect(last().headers).not.toHaveProperty('cookie');
  });

  it('sends raw requests as they are', async () => {
    const agent = new UserAgent();
    await agent.request({ url: here, path: '//x/../y', method: 'HEAD', headers: { cookie: 'a=1; a=2' } });
    expect(last()).toMatchObject({ method: 'HEAD', url: '//x/../y', headers: { cookie: 'a=1; a=2' } });
    expect(last().headers).not.toHaveProperty('sec-fetch-site');
  });
});
