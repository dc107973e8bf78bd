import { describe, expect, it } from '@jest/globals';
import { CookieJar, type CookieContext } from './cookie-jar.js';

const own: CookieContext = { sameSite: true, topLevel: true, method: 'GET' };
const app = new URL('https://app.example/shop/cart');

/** What a request carries after the given Set-Cookie headers came from `from`. */
function sent(headers: string[], to: string, context: Partial<CookieContext> = {}, from = app) {
  const jar = new CookieJar();
  for (const header of headers) jar.set(header, from, own);
  return jar.header(new URL(to), { ...own, ...context });
}

describe('CookieJar', () => {
  it('sends a host cookie to its host alone and a Domain cookie to its subdomains', () => {
    const both = ['host=1', 'wide=2; Domain=app.example; Path=/', 'root=3; Path=/'];
    expect(sent(both, 'https://app.example/')).toBe('wide=2; root=3');
    expect(sent(both, 'https://app.example/shop/')).toBe('host=1; wide=2; root=3');
    expect(sent(both, 'https://sub.app.example/shop/')).toBe('wide=2');
    expect(sent(both, 'https://other.example/')).toBeUndefined();
  });

  it('matches paths by whole segments and puts longer ones first', () => {
    const paths = ['a=1; Path=/', 'b=2; Path=/shop', 'c=3; Path=/sho'];
    expect(sent(paths, 'https://app.example/shop')).toBe('b=2; a=1');
    expect(sent(paths, 'https://app.example/shop/x')).toBe('b=2; a=1');
    expect(sent(paths, 'https://app.example/shopping')).toBe('a=1');
  });

  it('ignores ports, and never sends Secure cookies to plain http beyond loopback', () => {
    const cookies = ['s=1; Secure; Path=/', 'p=2; Path=/'];
    expect(sent(cookies, 'https://app.example:8443/')).toBe('s=1; p=2');
    expect(sent(cookies, 'http://app.example/')).toBe('p=2');
    const local = new URL('http://localhost:3000/');
    expect(sent(cookies, 'http://localhost:4000/', {}, local)).toBe('s=1; p=2');
  });

  it('lets Lax cookies along with a foreign navigation, but not with a foreign POST, frame or script', () => {
    const cookies = ['strict=1; SameSite=Strict', 'lax=2; SameSite=Lax', 'plain=3', 'none=4; SameSite=None; Secure'];
    const to = (context: Partial<CookieContext>) => sent(cookies, app.href, context);
    expect(to({})).toBe('strict=1; lax=2; plain=3; none=4');
    expect(to({ sameSite: false })).toBe('lax=2; plain=3; none=4');
    expect(to({ sameSite: false, method: 'POST' })).toBe('none=4');
    expect(to({ sameSite: false, topLevel: false })).toBe('none=4');
  });

  it.each([
    ['__Host-s=1; Secure; Path=/', undefined],
    ['__Host-s=1; Secure; Path=/; Domain=app.example', /__Host-/],
    ['__Host-s=1; Secure; Path=/shop', /__Host-/],
    ['__Host-s=1; Secure', /__Host-/],
    ['__Host-s=1; Path=/', /without Secure/],
    ['__hOsT-s=1; Path=/', /without Secure/],
    ['=__Host-s=1; Path=/; Secure', /__host-/],
    ['__Secure-s=1', /without Secure/],
    ['n=1; SameSite=None', /without Secure/],
    ['d=1; Domain=other.example', /another host/],
    ['d=1; Domain=example', /public suffix/],
    ['c=\x01', /control/],
    [`long=${'x'.repeat(4096)}`, /4096/],
  ])('judges %j', (header, refusal) => {
    const verdict = new CookieJar().set(header, app, own);
    if (refusal) expect(verdict).toMatch(refusal);
    else expect(verdict).toBeUndefined();
  });

  it('refuses Secure cookies and the overlaying of them from plain http', () => {
    const jar = new CookieJar();
    jar.set('s=good; Secure; Path=/', app, own);
    const insecure = new URL('http://sub.app.example/');
    expect(jar.set('t=1; Secure', insecure, own)).toMatch(/insecure/);
    expect(jar.set('s=evil; Domain=app.example; Path=/', insecure, own)).toMatch(/overlay/);
    expect(jar.header(app, own)).toBe('s=good');
  });

  it('does not take SameSite cookies from the answer to a foreign frame or script', () => {
    const foreign = { sameSite: false, topLevel: false, method: 'GET' };
    const jar = new CookieJar();
    expect(jar.set('a=1', app, foreign)).toMatch(/another site/);
    expect(jar.set('b=1; SameSite=None; Secure', app, foreign)).toBeUndefined();
  });

  it('expires by Max-Age before Expires, removes what is expired, and keeps nothing beyond 400 days', () => {
    let now = Date.UTC(2030, 0, 1);
    const jar = new CookieJar(() => now);
    jar.set('a=1; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT', app, own);
    jar.set('b=2; Max-Age=999999999', app, own);
    jar.set('c=3', app, own);
    jar.set('c=; Expires=Thu, 01 Jan 1970 00:00:00 GMT', app, own);
    expect(jar.header(app, own)).toBe('a=1; b=2');
    now += 60_000;
    expect(jar.header(app, own)).toBe('b=2');
    now += 400 * 86_400_000;
    expect(jar.all()).toEqual([]);
  });

  it('replaces a cookie of the same name, domain and path and keeps its place', () => {
    expect(sent(['a=1', 'b=2', 'a=3'], app.href)).toMatch(/a=3/);
    expect(sent(['a=1', 'a=2; Path=/', 'a=3'], app.href)).toBe('a=3; a=2');
  });
});
