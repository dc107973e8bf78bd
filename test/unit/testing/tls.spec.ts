// FakeProvider over https, with certificates good and bad, and clients that authenticate by theirs.
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { describe, expect, it } from '@jest/globals';
import { FakeProvider, makeCertificate, type FakeCertificate } from '../../../src/testing/index.js';

const authority = makeCertificate({ commonName: 'Test Authority', hosts: [], authority: true });

/** Status and body of one request, or the error code of the connection. */
function call(
  url: string,
  options: RequestOptions,
  body?: string,
): Promise<[status: number | undefined, body: string] | string> {
  return new Promise((resolve) => {
    const request = httpsRequest(url, { ca: authority.cert, agent: false, ...options }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      answer.on('end', () => resolve([answer.statusCode, text]));
    });
    request.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    request.end(body);
  });
}

async function discovery(certificate: FakeCertificate): Promise<unknown> {
  await using provider = await FakeProvider.start({ tls: { key: certificate.key, cert: certificate.cert } });
  expect(provider.issuer).toMatch(/^https:/);
  const answer = await call(`${provider.issuer}/.well-known/openid-configuration`, {});
  return typeof answer === 'string' ? answer : answer[0];
}

describe('FakeProvider over https', () => {
  it('is trusted with a certificate of the authority, and only then', async () => {
    const day = 86_400_000;
    expect(await discovery(makeCertificate({ issuer: authority }))).toBe(200);
    expect(
      await discovery(makeCertificate({ issuer: authority, notAfter: new Date(Date.now() + 40 * 365 * day) })),
    ).toBe(200);
    expect(await discovery(makeCertificate())).toBe('DEPTH_ZERO_SELF_SIGNED_CERT');
    expect(await discovery(makeCertificate({ issuer: authority, hosts: ['other.example'] }))).toBe(
      'ERR_TLS_CERT_ALTNAME_INVALID',
    );
    const expired = { notBefore: new Date(Date.now() - 2 * day), notAfter: new Date(Date.now() - day) };
    expect(await discovery(makeCertificate({ issuer: authority, ...expired }))).toBe('CERT_HAS_EXPIRED');
  });

  it('authenticates clients by certificates of the authority (RFC 8705)', async () => {
    const server = makeCertificate({ issuer: authority });
    await using provider = await FakeProvider.start({
      tls: { key: server.key, cert: server.cert, ca: authority.cert },
      clients: [{ clientId: 'mtls', tokenEndpointAuthMethod: 'tls_client_auth', tlsSubjectCommonName: 'mtls client' }],
    });
    const form = 'grant_type=refresh_token&refresh_token=x&client_id=mtls';
    const options = { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' } };
    const right = makeCertificate({ issuer: authority, commonName: 'mtls client', hosts: [] });
    const wrong = makeCertificate({ issuer: authority, commonName: 'somebody', hosts: [] });
    const selfSigned = makeCertificate({ commonName: 'mtls client', hosts: [] });
    const outcomes: unknown[] = [];
    for (const { key, cert } of [right, wrong, selfSigned, { key: undefined, cert: undefined }]) {
      const answer = await call(provider.endpoint('token'), { ...options, key, cert }, form);
      outcomes.push(JSON.parse(answer[1] ?? '').error);
    }
    expect(outcomes).toEqual(['invalid_grant', 'invalid_client', 'invalid_client', 'invalid_client']);
    expect(provider.requests[0]?.clientAuth).toMatchObject({ methods: ['tls_client_auth'], accepted: true });
  });

  it('resets and drops connections over TLS, too', async () => {
    const server = makeCertificate({ issuer: authority });
    await using provider = await FakeProvider.start({ tls: { key: server.key, cert: server.cert } });
    provider.fault('jwks', { kind: 'reset' });
    expect(await call(provider.endpoint('jwks'), {})).toBe('ECONNRESET');
  });
});
