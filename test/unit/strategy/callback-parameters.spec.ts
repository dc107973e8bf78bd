// The shape of a callback: each parameter once, text, bounded; everything else is refused before anything is looked up.
import fc from 'fast-check';
import { OAuthError } from '../../../src/errors/oauth-error.js';
import { authorizationError } from '../../../src/strategy/authorization-errors.js';
import { callbackParameters } from '../../../src/strategy/callback-parameters.js';
import { singleParameters } from '../../../src/strategy/login-start.service.js';
import '../../support/fixed-seed.js';

const codeOfRefusal = (encoded: string): string => {
  try {
    callbackParameters(encoded);
    return 'accepted';
  } catch (error) {
    return error instanceof OAuthError ? error.code : `bug: ${String(error)}`;
  }
};

describe('callback parameters', () => {
  it('takes what a provider sends, and ignores the rest', () => {
    expect(
      callbackParameters('code=c&state=s&iss=https%3A%2F%2Fx&foo=bar&foo=baz&scope=a+b&session_state=y'),
    ).toMatchObject({
      code: 'c',
      state: 's',
      iss: 'https://x',
      error: undefined,
    });
    expect(callbackParameters('error=access_denied&error_description=no&state=s')).toMatchObject({
      error: 'access_denied',
      code: undefined,
    });
  });

  it.each([
    '',
    'code=c',
    'state=',
    'state=s',
    'state=s&code=',
    'state=s&state=s&code=c',
    'state=s&code=c&code=c',
    'state=s&code=c&iss=&iss=',
    'state=s&code[]=c',
    'state=s&code=c&code.x=1',
    'state=s&code=c&__proto__=1',
    'state=s&code=c&constructor.x=1',
    'state=s&code=c&access_token=t',
    'state=s&code=c&id_token=t',
    `state=s&code=${'c'.repeat(8192)}`,
  ])('A-013 A-029 E-061 E-062 refuses %.60j', (encoded) => {
    expect(codeOfRefusal(encoded)).toBe('invalid_request');
  });

  it('A-004 an empty iss is a wrong one, not a missing one', () => {
    expect(callbackParameters('state=s&code=c&iss=').iss).toBe('');
    expect(callbackParameters('state=s&code=c').iss).toBeUndefined();
  });

  it('never throws anything else, whatever comes', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.webQueryParameters()), (encoded) => {
        expect(codeOfRefusal(encoded)).toMatch(/^(accepted|invalid_request)$/);
        expect(({} as Record<string, unknown>).state).toBeUndefined();
      }),
      { numRuns: 2_000 },
    );
  });

  it('E-093 repeated parameters of a login count as missing; those that configuration passes on are refused', () => {
    expect(singleParameters('returnTo=/a&returnTo=/b&x=1').has('returnTo')).toBe(false);
    expect(singleParameters('returnTo=/a&x=1&x=2').get('returnTo')).toBe('/a');
    expect(() => singleParameters('login_hint=a&login_hint=b', ['login_hint'])).toThrow(OAuthError);
    expect(() => singleParameters('a'.repeat(70_000))).toThrow(OAuthError);
  });
});

describe('errors of a provider in the callback', () => {
  it('become codes of ours, and their text goes nowhere', () => {
    for (const [given, code] of [
      ['access_denied', 'access_denied'],
      ['constructor', 'authorization_refused'],
      ['__proto__', 'authorization_refused'],
      ['<script>', 'authorization_refused'],
      ['x\r\ny', 'authorization_refused'],
      ['x'.repeat(9999), 'authorization_refused'],
    ] as const) {
      const error = authorizationError(given, 'fake');
      expect(error.code).toBe(code);
      expect(error.message).not.toContain(given === 'access_denied' ? 'access_denied' : given);
      expect((error.cause as Error).message).not.toMatch(/[\r\n]/);
      expect((error.cause as Error).message.length).toBeLessThan(120);
    }
  });
});
