// returnTo, judged with the platform's own URL parser as the oracle.
import fc from 'fast-check';
import { asReturnTo, isAuthRoute, type ReturnToPolicy, safeReturnTo, stillSafe } from '../../../src/state/return-to.js';
import '../../support/fixed-seed.js';

const policy: ReturnToPolicy = {
  origin: 'https://app.example',
  authPath: '/base/auth',
  otherOrigins: ['https://admin.example:8443'],
};

/** Texts made of what parsers disagree about. */
const tricky = fc.array(
  fc.constantFrom('/', '//', '\\', '..', '.', '%2f', '%5c', '%2e', '%252f', 'evil.com', 'app.example', '@', ':', '?', '#', '\t', '\n', '\r', '\0', ' ', 'https:', 'http:', 'javascript:', 'base', 'auth', 'AUTH', '%61uth', ';x', '\u200b', '／', '。', '[::1]', '\ud800', 'admin.example:8443', '443'),
  { maxLength: 8 },
).map((parts) => parts.join('')); // prettier-ignore

describe('returnTo', () => {
  it('A-001 whatever is given: our origin or one of the list, no leading double slash, none of our routes', () => {
    fc.assert(
      fc.property(fc.oneof(tricky, fc.string({ unit: 'binary' }), fc.webUrl(), fc.webPath()), (given) => {
        const url = new URL(safeReturnTo(given, policy));
        expect([policy.origin, ...policy.otherOrigins]).toContain(url.origin);
        if (url.origin !== policy.origin) return;
        expect(url.pathname).not.toMatch(/^\/[/\\]/);
        expect(url.pathname.toLowerCase()).not.toMatch(/^\/base\/auth(?:\/|$)/);
        expect(url.username + url.password).toBe('');
      }),
      { numRuns: 20_000 },
    );
  });

  it('judging twice changes nothing', () => {
    fc.assert(
      fc.property(fc.oneof(tricky, fc.webPath()), (given) => {
        const once = safeReturnTo(given, policy);
        expect(stillSafe(once, policy)).toBe(once);
        if (once.length < 2_000) expect(safeReturnTo(asReturnTo(once, policy), policy)).toBe(once);
      }),
      { numRuns: 5_000 },
    );
  });

  it.each([
    undefined,
    null,
    5,
    [],
    ['/a'],
    ['/a', '//evil.com'],
    {},
    { toString: () => '/a' },
    '',
    'ok',
    `/${'a'.repeat(2048)}`,
  ])('%j is no returnTo', (given) => {
    expect(safeReturnTo(given, policy)).toBe('https://app.example/');
  });

  it('one that grows by percent-encoding still passes when it is judged again', () => {
    const once = safeReturnTo(`/${'ü'.repeat(2000)}`, policy);
    expect(once.length).toBeGreaterThan(12_000);
    expect(stillSafe(once, policy)).toBe(once);
  });

  it('the longest one passes', () => {
    expect(safeReturnTo(`/${'a'.repeat(2047)}`, policy)).toBe(`https://app.example/${'a'.repeat(2047)}`);
  });

  it.each([
    'https://evil.com',
    'https://app.example.evil.com/',
    'http://app.example/',
    '',
    '//evil.com',
    'javascript:alert(1)',
    'https://app.example//evil.com',
    'https://app.example/base/auth/logout',
    'https://app.example@evil.com/',
  ])('E-094 a stored %j ends at the default', (stored) => {
    expect(stillSafe(stored, policy)).toBe('https://app.example/');
  });

  it.each([
    '/base/auth',
    '/base/AUTH/logout',
    '/base//auth/',
    '/base/./auth',
    '/%62ase/auth',
    '/base/auth;x/y',
    '/base;a/auth',
    '/%E0%A4%A',
  ])('E-092 %s is one of our routes', (path) => {
    expect(isAuthRoute(path, policy.authPath)).toBe(true);
  });

  it.each(['/base', '/base/authors', '/auth', '/base/x/auth', '/'])('%s is none of our routes', (path) => {
    expect(isAuthRoute(path, policy.authPath)).toBe(false);
  });
});
