// Logout at FakeProvider, in both directions.
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import * as oidc from 'openid-client';
import { FakeProvider, LOGOUT_EVENT } from '../../../src/testing/index.js';
import { discover, login } from './browser.js';

describe('FakeProvider, logging out', () => {
  let provider: FakeProvider;
  let config: oidc.Configuration;

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
  });

  it('makes logout tokens about the last login, and bends them', async () => {
    provider.user({ sub: 'alice' });
    const tokens = await login(config);
    const token = provider.logoutToken();
    const keys = createRemoteJWKSet(new URL(provider.endpoint('jwks')));
    const { payload, protectedHeader } = await jwtVerify(token, keys, { issuer: provider.issuer, audience: 'client' });
    expect(payload).toMatchObject({ sub: 'alice', sid: tokens.claims()?.sid, events: { [LOGOUT_EVENT]: {} } });
    expect(protectedHeader.typ).toBe('logout+jwt');
    expect(payload.jti).not.toBe(decodeJwt(provider.logoutToken()).jti);
    const bent = decodeJwt(provider.logoutToken({ sub: undefined, exp: undefined, nonce: 'x' }));
    expect(Object.keys(bent).sort()).toEqual(['aud', 'events', 'iat', 'iss', 'jti', 'nonce', 'sid']);
    const forged = provider.logoutToken({}, { typ: 'JWT', forgery: { kind: 'unsigned' } });
    expect(decodeProtectedHeader(forged)).toEqual({ alg: 'none', typ: 'JWT' });
    provider.forge('logoutToken', { kind: 'foreignKey' });
    await expect(jwtVerify(provider.logoutToken(), keys)).rejects.toThrow('signature verification failed');
  });

  it('posts them and reports the answer', async () => {
    const received: string[] = [];
    const application = createServer((request, response) => {
      request.setEncoding('utf8').on('data', (chunk: string) => received.push(chunk));
      request.on('end', () => response.writeHead(400, { 'cache-control': 'no-store' }).end('no'));
    }).listen(0, '127.0.0.1');
    await once(application, 'listening');
    const { port } = application.address() as AddressInfo;
    const answer = await provider.sendBackchannelLogout(`http://127.0.0.1:${port}/logout`, { sid: 'abc' });
    application.close();
    expect([answer.status, answer.body, answer.headers.get('cache-control')]).toEqual([400, 'no', 'no-store']);
    expect(decodeJwt(new URLSearchParams(received.join('')).get('logout_token') ?? '').sid).toBe('abc');
  });

  it('builds front-channel URLs', async () => {
    await login(config);
    const url = new URL(provider.frontchannelLogoutUrl('http://app.example/out?x=1'));
    expect(Object.fromEntries(url.searchParams)).toEqual({
      x: '1',
      iss: provider.issuer,
      sid: provider.logins[0]?.sid,
    });
    expect(provider.frontchannelLogoutUrl('http://app.example/out', { sid: null })).not.toContain('sid=');
  });

  it('logs people out and sends them back to a registered address, with state', async () => {
    const back = 'http://localhost:9/bye';
    provider.addClient({ clientId: 'client', clientSecret: 'secret', postLogoutRedirectUris: [back] });
    const { id_token = '' } = await login(config);
    const query = { id_token_hint: id_token, post_logout_redirect_uri: back, state: 'xyz' };
    const answer = await fetch(oidc.buildEndSessionUrl(config, query), { redirect: 'manual' });
    expect(answer.headers.get('location')).toBe(`${back}?state=xyz`);
    expect(provider.endSessions[0]?.hint).toMatchObject({ sub: 'user-1', aud: 'client' });
    provider.tamper('endSessionResponse', (params) => params.set('state', 'other'));
    const bent = await fetch(oidc.buildEndSessionUrl(config, query), { redirect: 'manual' });
    expect(bent.headers.get('location')).toBe(`${back}?state=other`);
    const stranger = { ...query, post_logout_redirect_uri: 'http://evil.example/' };
    expect((await fetch(oidc.buildEndSessionUrl(config, stranger), { redirect: 'manual' })).status).toBe(400);
  });
});
