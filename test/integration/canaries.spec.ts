// Canaries planted in every secret, and searched for in everything that leaves the process or stays in the database.
import { inspect } from 'node:util';
import { Controller, Get, Logger, Req, UseGuards } from '@nestjs/common';
import {
  CurrentSession,
  CurrentUser,
  type OAuthLogin,
  OAuthError,
  type OAuthSession,
  type OAuthUser,
  SessionGuard,
  TokenService,
} from '../../src/index.js';
import { MeController, oidcOf, platforms } from '../support/app.js';
import { captureOutput, type CapturedOutput, spellingsOf } from '../support/captured-output.js';
import { dumpDatabase } from '../support/dump.js';
import { type LoginFixture, startLogin } from '../support/login-fixture.js';

const CLIENT_SECRET = 'canary-client-secret-5d1c';
const KEY = Buffer.from('canary-encryption-key-canary-key');

/** An application that logs whatever it can get hold of. */
@Controller('chatty')
@UseGuards(SessionGuard)
class ChattyController {
  readonly #logger = new Logger('App');

  constructor(private readonly tokens: TokenService) {}

  @Get()
  async chat(
    @CurrentUser() user: OAuthUser,
    @CurrentSession() session: OAuthSession,
    @Req() request: Record<string, unknown>,
  ): Promise<object> {
    const token = await this.tokens.getAccessToken(session);
    this.#logger.log(inspect([user, session, token, this.tokens], { depth: 12, showHidden: true }));
    this.#logger.log(JSON.stringify([user, session, token]), String(token), [request.user, request.oauthSession]);
    const error: unknown = await this.tokens
      .getAccessToken(session, { forceRefresh: true })
      .catch((reason: unknown) => reason);
    this.#logger.error(error, inspect(error, { depth: 12, showHidden: true }));
    return { user, session, token };
  }
}

describe.each(platforms)('canaries on %s', (platform) => {
  let at: LoginFixture;
  let output: CapturedOutput;
  const logins: OAuthLogin[] = [];

  beforeAll(async () => {
    output = captureOutput();
    at = await startLogin({
      platform,
      logger: output.logger,
      controllers: [MeController, ChattyController],
      provider: { clients: [{ clientId: 'client', clientSecret: CLIENT_SECRET }] },
      providers: (provider) => [oidcOf(provider, { clientSecret: CLIENT_SECRET })],
      oauth: {
        encryption: { keys: [{ id: 'canary', secret: KEY }] },
        onLogin: (login) => {
          logins.push(login);
          new Logger('App').log(inspect(login, { depth: 12, showHidden: true }));
          return `user-of-${login.subject}`;
        },
      },
    });
  });
  afterAll(async () => {
    await at?.close();
    output?.restore();
  });

  it('A-043 D-004 D-021 D-022 D-023 D-040 D-041 D-044 no secret is in a log, an error, a page, a URL after the login, or the database', async () => {
    const agent = at.agent();
    const secrets = new Map<string, string>([
      ['client secret', CLIENT_SECRET],
      ['encryption key', KEY.toString('latin1')],
      ['encryption key, base64url', KEY.toString('base64url')],
    ]);
    /** One login; notes the random values that it made. */
    const login = async (breaking?: () => void): Promise<void> => {
      const authorize = await at.begin(agent, '?returnTo=/me');
      secrets.set(`state ${secrets.size}`, authorize.searchParams.get('state')!);
      secrets.set(`nonce ${secrets.size}`, authorize.searchParams.get('nonce')!);
      breaking?.();
      await at.callback(agent, await at.consent(authorize));
      at.provider.clearFaults();
      at.provider.clearTampering();
    };
    await login();
    await agent.fetch(`${at.app.url}/me`);
    at.provider.fault('refresh', {
      kind: 'raw',
      status: 400,
      body: JSON.stringify({ error: 'invalid_request', error_description: 'canary-of-the-provider' }),
      contentType: 'application/json',
    });
    expect((await agent.fetch(`${at.app.url}/chatty`)).status).toBe(200);
    at.provider.clearFaults();
    expect(at.provider.issued.map(({ kind }) => kind)).toContain('accessToken');
    // Every way to fail that quotes something.
    for (const breaking of [
      () => at.provider.fault('code', { kind: 'html', carry: 'json' }),
      () => at.provider.fault('code', { kind: 'truncated' }),
      () => at.provider.fault('code', { kind: 'doubledKeys' }),
      () =>
        at.provider.fault('code', {
          kind: 'oauthError',
          error: 'invalid_client',
          description: 'canary-of-the-provider',
          status: 401,
        }),
      () => at.provider.fault('userinfo', { kind: 'text', carry: 'json' }),
      () =>
        at.provider.fault('userinfo', {
          kind: 'raw',
          body: '<canary-of-the-provider>',
          contentType: 'application/json',
        }),
      () =>
        at.provider.fault('userinfo', { kind: 'raw', body: 'canary-of-the-provider', contentType: 'application/jwt' }),
      () => at.provider.tamper('idToken', (claims) => ({ ...claims, nonce: 'canary-of-the-provider' })),
      () => at.provider.tamper('idToken', (claims) => ({ ...claims, aud: 'canary-of-the-provider' })),
      () => at.provider.tamper('idToken', (claims, header) => void (header.alg = 'canary-of-the-provider')),
      () => at.provider.tamper('tokenResponse', (body) => ({ ...body, id_token: 'canary-of-the-provider.x.y' })),
      () => at.provider.tamper('tokenResponse', (body) => ({ ...body, token_type: 'canary-of-the-provider' })),
      () => at.provider.tamper('tokenResponse', (body) => ({ ...body, scope: ['canary-of-the-provider'] })),
      () => at.provider.tamper('userinfo', (claims) => ({ ...claims, sub: 'canary-of-the-provider' })),
    ])
      await login(breaking);
    await at.callback(agent, `${at.app.url}/auth/fake/callback?state=x&code=y`);
    await login();
    for (const { kind, value } of at.provider.issued) secrets.set(`${kind} ${secrets.size}`, value);
    for (const { form } of at.provider.requestsTo('code')) {
      secrets.set(`verifier ${secrets.size}`, form.get('code_verifier')!);
      secrets.set(`code ${secrets.size}`, form.get('code')!);
    }
    for (const cookie of agent.history.flatMap((hop) => hop.setCookies)) {
      const value = /^[^=]+=([^;]+)/.exec(cookie)?.[1];
      if (value) secrets.set(`cookie ${secrets.size}`, value);
    }
    const kinds = new Set([...secrets.keys()].map((name) => name.replace(/ \d+$/, '')));
    expect([...kinds].sort()).toEqual(
      expect.arrayContaining(['client secret', 'code', 'cookie', 'encryption key', 'nonce', 'state', 'verifier']),
    );

    const dump = await dumpDatabase(at.database);
    const ownAnswers = agent.history.filter(({ url }) => url.startsWith(at.app.url));
    // Cookies go to the browser, and authorization requests carry state and nonce: everything else is searched.
    const bodies = ownAnswers.map(({ body }) => body).join('\n');
    const landings = ownAnswers
      .flatMap(({ headers }) => headers.get('location') ?? [])
      .filter((location) => location.startsWith(at.app.url));
    const places = {
      log: output.text,
      database: dump,
      bodies,
      landings: landings.join('\n'),
      logins: JSON.stringify(logins),
    };
    expect(output.text).toContain('[redacted]');
    const found: string[] = [];
    for (const [name, secret] of secrets)
      for (const spelling of spellingsOf(secret))
        for (const [place, text] of Object.entries(places))
          if (text.includes(spelling)) found.push(`${name} in ${place}`);
    expect(found).toEqual([]);
    expect(output.find(['canary-of-the-provider'])).toEqual([]);
    expect(bodies).not.toContain('canary-of-the-provider');
  });

  it('D-004 D-040 the database holds only sealed tokens, and hashes', async () => {
    const rows = await at.database.query<{ sealed: string }>(`
      select refresh_token as sealed from oauth_grants where refresh_token is not null
      union all select token from oauth_access_tokens
      union all select id_token from oauth_sessions where id_token is not null
      union all select return_to from oauth_states`);
    expect(rows.length).toBeGreaterThan(5);
    for (const { sealed } of rows) expect(sealed).toMatch(/^[\w-]+(?:\.[\w-]+){4}$/);
  });

  it('D-021 an OAuthError shows no secret when it is inspected', async () => {
    const agent = at.agent();
    at.provider.fault('code', { kind: 'oauthError', error: 'invalid_request', description: 'canary-of-the-provider' });
    await at.login(agent);
    at.provider.clearFaults();
    const error = await at.app.tokens
      .getAccessToken('00000000-0000-4000-8000-000000000000')
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OAuthError);
    expect(inspect(error, { depth: 12, showHidden: true })).not.toMatch(/canary/);
  });
});
