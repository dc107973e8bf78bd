// One application under fire: its platform and query parser, its providers, and what must never be seen outside.
import type { LoggerService } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { oauth2 } from '../../src/index.js';
import { FakeProvider } from '../../src/testing/index.js';
import { MeController, oidcOf, type RunningApp, startApp, TEST_KEY, TokenController } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { exchange, headerOf, headersOf, type WireAnswer, type WireRequest } from './wire.js';

/** What everything is tried on. */
export const TARGETS = ['express with the simple parser', 'express with the extended parser', 'fastify'] as const;
export type TargetName = (typeof TARGETS)[number];

/** The one other origin that `returnTo` may name. */
export const ALLOWED_ORIGIN = 'https://allowed.example';

const CLIENT_SECRET = 'canary-client-secret-6f1c0a';

/** A login that waits for its callback. */
export interface Begun {
  state: string;
  code: string;
  iss: string;
  /** The JWT of a JARM answer. */
  response: string;
  browser: string;
}

/** An application, its database and its provider. */
export class Target {
  /** How often each status was judged, in the running family. */
  readonly statuses = new Map<number, number>();

  private constructor(
    readonly name: TargetName,
    readonly database: TestDatabase,
    readonly provider: FakeProvider,
    readonly app: RunningApp,
    /** Lines that were logged since the case began. */
    readonly log: string[],
  ) {}

  /** Starts all three. */
  static async start(name: TargetName): Promise<Target> {
    const [database, provider] = await Promise.all([
      createTestDatabase(),
      FakeProvider.start({ clients: [{ clientId: 'client', clientSecret: CLIENT_SECRET }] }),
    ]);
    const log: string[] = [];
    const said = (...values: unknown[]): void => void log.push(values.map(String).join(' '));
    const logger: LoggerService = { log: said, error: said, warn: said, debug: said, verbose: said, fatal: said };
    const adapter = name === 'fastify' ? new FastifyAdapter() : new ExpressAdapter();
    if (name !== 'fastify')
      adapter
        .getInstance<{ set(key: string, value: string): void }>()
        .set('query parser', name.includes('extended') ? 'extended' : 'simple');
    const shared = { clientSecret: CLIENT_SECRET, timeout: 5_000 };
    const app = await startApp({
      adapter,
      database: database.url,
      logger,
      controllers: [MeController, TokenController],
      oauth: { returnToOrigins: [ALLOWED_ORIGIN] },
      providers: [
        oidcOf(provider, { ...shared, loginParams: ['login_hint', 'max_age', 'acr_values'] }),
        oidcOf(provider, { ...shared, name: 'post', responseMode: 'form_post' }),
        oidcOf(provider, { ...shared, name: 'signed', responseMode: 'jwt' }),
        oauth2({
          name: 'plain',
          clientId: 'client',
          ...shared,
          authorizationEndpoint: provider.endpoint('authorize'),
          tokenEndpoint: provider.endpoint('token'),
          profile: () => ({ subject: 'plain-user' }),
        }),
      ],
    });
    return new Target(name, database, provider, app, log);
  }

  /** Origin of the application. */
  get origin(): string {
    return this.app.url;
  }

  /** Forgets the last case. */
  refresh(): void {
    this.log.length = 0;
    this.provider.reset();
  }

  /** Sends a request to the application. */
  send(request: Partial<WireRequest> & { target: string }): Promise<WireAnswer | null> {
    return exchange(Number(new URL(this.app.address).port), { method: 'GET', headers: [], ...request });
  }

  /** Opens `/login` and lets the provider answer: everything that a callback needs. */
  async begin(provider = 'fake', query = ''): Promise<Begun> {
    const start = await this.send({ target: `/auth/${provider}/login${query}`, headers: [['accept', 'text/html']] });
    const location = start && headerOf(start, 'location');
    if (start?.status !== 302 || !location) throw new Error(`login: ${start?.raw ?? 'cut'}`);
    const answer = await fetch(location, { redirect: 'manual' });
    const back = answer.headers.get('location');
    const fields = back === null ? fieldsOf(await answer.text()) : new URL(back).searchParams;
    return {
      state: fields.get('state') ?? '',
      code: fields.get('code') ?? '',
      iss: fields.get('iss') ?? '',
      response: fields.get('response') ?? '',
      browser: cookieOf(start, 'oauth_browser') ?? '',
    };
  }

  /** A whole login. @returns the answer of the callback */
  async login(provider = 'fake', query = ''): Promise<WireAnswer> {
    return this.finish(provider, await this.begin(provider, query));
  }

  /** The callback of a login that was begun. */
  async finish(provider: string, { state, code, iss, browser }: Begun): Promise<WireAnswer> {
    const query = new URLSearchParams({ state, code, iss });
    const answer = await this.send({
      target: `/auth/${provider}/callback?${query}`,
      headers: [
        ['accept', 'text/html'],
        ['cookie', `oauth_browser=${browser}`],
      ],
    });
    if (!answer) throw new Error('the callback was cut');
    return answer;
  }

  /** Everything that no answer and no log line may hold, as of this case. */
  secrets(): string[] {
    const issued = this.provider.issued.map(({ value }) => value);
    const verifiers = this.provider.requestsTo('token').map(({ form }) => form.get('code_verifier') ?? '');
    return [CLIENT_SECRET, TEST_KEY, ...issued, ...verifiers].filter((secret) => secret.length >= 16);
  }

  async close(): Promise<void> {
    await this.app.close();
    await this.provider.close();
    await this.database.drop();
  }
}

/** The value of a cookie that an answer sets. */
export function cookieOf(answer: WireAnswer, name: string): string | undefined {
  for (const cookie of headersOf(answer, 'set-cookie')) {
    const value = new RegExp(`^${name}=([^;]*)`).exec(cookie)?.[1];
    if (value) return value;
  }
  return undefined;
}

function fieldsOf(page: string): URLSearchParams {
  const unescaped = (value: string) => value.replaceAll('&amp;', '&');
  const fields = new URLSearchParams();
  for (const [, name, value] of page.matchAll(/name="([^"]+)" value="([^"]*)"/g))
    fields.append(name!, unescaped(value!));
  return fields;
}
