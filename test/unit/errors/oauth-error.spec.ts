// The one error class and its table; what is public about it, and what is not.
import { inspect } from 'node:util';
import { ERROR_CODES, type OAuthErrorCode } from '../../../src/errors/error-codes.js';
import { LoginRefusedError, OAuthConfigError, OAuthError } from '../../../src/errors/oauth-error.js';
import { oneLine, printableJson } from '../../../src/errors/one-line.js';

describe('errors', () => {
  it('every code has a status, a message for people and a hint for operators', () => {
    for (const [code, { status, message, hint }] of Object.entries(ERROR_CODES)) {
      expect(code).toMatch(/^[a-z_]+$/);
      expect(status).toBeGreaterThanOrEqual(400);
      expect(status).toBeLessThan(600);
      expect(message).toMatch(/^[A-Z].*\.$/);
      expect(hint.length).toBeGreaterThan(5);
    }
  });

  it('statuses are those that the design promises', () => {
    const promised: Partial<Record<OAuthErrorCode, number>> = {
      invalid_request: 400, invalid_state: 400, access_denied: 403, consent_required: 403, unknown_provider: 404, method_not_allowed: 405,
      unauthenticated: 401, reauth_required: 401, cross_site: 403, insufficient_scope: 403, provider_error: 502, invalid_id_token: 502,
      database_unavailable: 503, provider_unavailable: 503, key_unavailable: 503, server_error: 500,
    }; // prettier-ignore
    for (const [code, status] of Object.entries(promised))
      expect([code, new OAuthError(code as OAuthErrorCode).statusCode]).toEqual([code, status]);
  });

  it('answers of 503 say when to come back', () => {
    expect(new OAuthError('database_unavailable').retryAfter).toBe(5);
    expect(new OAuthError('provider_unavailable', { retryAfter: 60 }).retryAfter).toBe(60);
    expect(new OAuthError('invalid_state').retryAfter).toBeUndefined();
  });

  it('the cause does not travel with JSON, nor with what is public', () => {
    const error = new OAuthError('provider_error', {
      cause: new Error('canary'),
      provider: 'fake',
      loginUrl: 'https://app.example/auth/fake/login',
    });
    expect(JSON.stringify(error)).not.toContain('canary');
    expect(JSON.stringify({ ...error })).not.toContain('canary');
    expect(error.message).not.toContain('canary');
    expect(error.toJSON()).toEqual({
      code: 'provider_error',
      status: 502,
      message: error.message,
      loginUrl: error.loginUrl,
    });
    expect(error.extensions).toEqual({ code: 'provider_error', status: 502, loginUrl: error.loginUrl });
    expect([error.status, error.statusCode, error.expose, error.reconnectUrl]).toEqual([
      502,
      502,
      true,
      error.loginUrl,
    ]);
    expect(inspect(error)).toContain('provider_error');
  });

  it('subclasses are recognised by instanceof and name', () => {
    const refused = new LoginRefusedError('Only members.');
    expect(refused).toBeInstanceOf(OAuthError);
    expect([refused.name, refused.code, refused.message, refused.statusCode]).toEqual([
      'LoginRefusedError',
      'login_refused',
      'Only members.',
      403,
    ]);
    const config = new OAuthConfigError(['a: is wrong', 'b: too']);
    expect(config.problems).toEqual(['a: is wrong', 'b: too']);
    expect(config.message).toBe(
      'nest-oauth-client: 2 problems in the options of OAuthModule:\n  - a: is wrong\n  - b: too',
    );
  });

  it('C-013 lines for the log hold nothing that a terminal obeys', () => {
    const nasty = 'a\r\nb\u001b[31mc\u009bd\u202ee\u2066f\u200bg\u2028h\u0000i';
    expect(oneLine(nasty, 100)).toBe('a  b [31mc d e f g h i');
    expect(oneLine('x'.repeat(500), 10)).toBe('xxxxxxxxxx');
    const json = printableJson({ sub: nasty });
    expect(json).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/);
    expect(JSON.parse(json)).toEqual({ sub: nasty });
  });
});
