import { wantsNonce } from '../../../src/providers/dpop.js';

describe('the wish for a nonce', () => {
  const asked = (challenges: string, status = 401) =>
    wantsNonce(new Response(null, { status, headers: { 'www-authenticate': challenges } }));

  it('is a challenge of this scheme that names it', () => {
    expect(asked('DPoP error="use_dpop_nonce"')).toBe(true);
    expect(asked('Bearer realm="x", dpop algs="ES256", error="use_dpop_nonce"')).toBe(true);
    expect(asked('DPoP error="use_dpop_nonce"', 403)).toBe(false);
    expect(asked('DPoP error="invalid_token"')).toBe(false);
    expect(asked('Bearer error="use_dpop_nonce"')).toBe(false);
  });

  it('is found or not in a moment, however long the header is', () => {
    const began = performance.now();
    for (let time = 0; time < 100; time++) expect(asked('dpop '.repeat(3_200))).toBe(false);
    expect(performance.now() - began).toBeLessThan(4_000);
  });
});
