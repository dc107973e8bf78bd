// The types that users meet: `@CurrentUser()` and provider names, as the packed package says them, with and without
// the application's own types merged in. Every `@ts-expect-error` that is not needed fails as loudly as every other error.
import { packedPackage, userProject } from '../support/packed-package.js';

const COMPILER = {
  ...{ target: 'ES2023', module: 'nodenext', moduleResolution: 'nodenext', strict: true, skipLibCheck: true },
  ...{ noEmit: true, experimentalDecorators: true, emitDecoratorMetadata: true, types: ['node'] },
  ...{ exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true },
};

const IMPORTS = `
import { Get, type INestApplication, ParseIntPipe, UseGuards } from '@nestjs/common';
import { CurrentSession, CurrentUser, github, google, oauth2, OAuthModule, oidc, SessionGuard, TokenService } from 'nest-oauth-client';
import type { OAuthModuleOptions, OAuthProviderName, OAuthSession, OAuthUser, ProviderDefinition } from 'nest-oauth-client';
const base = { baseUrl: 'https://a.example', encryption: { keys: [{ id: 'k', secret: 's' }] } };
const client = { clientId: 'a', clientSecret: 'b' };
const issuer = 'https://c.example';
type Is<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
const holds = <T extends true>(): T | undefined => undefined;
`;

/** What holds whether or not anything was merged. */
const ALWAYS = `${IMPORTS}
export class Always<T> {
  @Get() session(@CurrentSession() session: OAuthSession, @CurrentSession('id') id: string, @CurrentSession('authTime') when: Date | null): unknown[] {
    return [session, id, when];
  }
  @Get() loose(@CurrentUser() user: unknown, @CurrentSession() any: any, @CurrentSession('scope') scope?: readonly string[]): unknown[] {
    return [user, any, scope];
  }
  // Pipes may make anything of it.
  @Get() piped(@CurrentSession('id', ParseIntPipe) id: number, @CurrentUser(ParseIntPipe) user: number, @CurrentSession(new ParseIntPipe()) n: number): unknown[] {
    return [id, user, n];
  }
  @Get() inGeneric(@CurrentSession('provider') provider: OAuthProviderName, other: T): unknown[] {
    return [provider, other];
  }
  @Get() private hidden(@CurrentSession('id') id: string): string {
    return id;
  }
  // @ts-expect-error the id is a text
  @Get() wrong(@CurrentSession('id') id: number): unknown {
    return id;
  }
  // @ts-expect-error the time of authentication may be unknown
  @Get() unknownTime(@CurrentSession('authTime') when: Date): unknown {
    return when;
  }
  // @ts-expect-error a session has no such member
  @Get() token(@CurrentSession('token') token: string): unknown {
    return token;
  }
  use(): unknown { return this.hidden(''); }
}
const asDecorator: () => ParameterDecorator = () => CurrentUser();
const list: ProviderDefinition[] = [github(client), google(client), oidc({ name: 'c', issuer, ...client })];
const named = oidc({ name: 'corp' as string, issuer, ...client });
holds<Is<typeof named['name'], string>>();
const hub = github(client);
holds<Is<typeof hub['name'], 'github'>>();
const enterprise = github({ name: 'ghe', ...client });
holds<Is<typeof enterprise['name'], 'ghe'>>();
const acme = oauth2({ name: 'acme', authorizationEndpoint: issuer, tokenEndpoint: issuer, profile: () => ({ subject: 1 }), ...client });
holds<Is<typeof acme['name'], 'acme'>>();
// @ts-expect-error a provider needs a name
oidc({ issuer, ...client });
// @ts-expect-error an option that does not exist
oidc({ name: 'c', issuer, clientId: 'a', clientSecret: 'b', nonsense: true });
OAuthModule.forRoot({ ...base, providers: list });
OAuthModule.forRootAsync({ useFactory: (): OAuthModuleOptions => ({ ...base, providers: [hub, acme] }) });
export const all = [asDecorator, SessionGuard, UseGuards];
export type Unused = INestApplication | TokenService | OAuthUser;
`;

const PLAIN = `${IMPORTS}
export class Plain {
  @Get() user(@CurrentUser() user: OAuthUser, @CurrentUser('id') id: string, @CurrentUser() part: { id: string }): unknown[] {
    return [user, id, part];
  }
  // @ts-expect-error nobody said that the user has a role
  @Get() role(@CurrentUser() user: OAuthUser & { role: string }): unknown {
    return user;
  }
}
export async function use(tokens: TokenService, session: OAuthSession, name: string): Promise<void> {
  holds<Is<OAuthProviderName, string>>();
  await tokens.forUser('u', name).fetch(issuer);
  await tokens.getAccessToken({ userId: 'u', provider: session.provider });
}
OAuthModule.forRoot({ ...base, providers: [], loadUser: (user) => user });
// @ts-expect-error who is loaded must be what @CurrentUser() gives
OAuthModule.forRoot({ ...base, providers: [], loadUser: () => ({ role: 'admin' }) });
export const all = [github, google, oauth2, oidc, SessionGuard, UseGuards, ParseIntPipe, CurrentSession, client];
export type Unused = INestApplication | OAuthModuleOptions | ProviderDefinition;
`;

const MERGED = `${IMPORTS}
class Person {
  constructor(readonly id: number, readonly role: 'admin' | 'member') {}
}
export const providers = [github(client), oidc({ name: 'corp', issuer, ...client })];
declare module 'nest-oauth-client' {
  interface OAuthTypes {
    user: Person;
    providers: typeof providers;
  }
}
export class Merged {
  @Get() user(@CurrentUser() user: Person, @CurrentUser('id') id: number, @CurrentUser('role') role: 'admin' | 'member'): unknown[] {
    return [user, id, role];
  }
  // @ts-expect-error it is no longer what the session knows
  @Get() old(@CurrentUser() user: OAuthUser): unknown {
    return user;
  }
  // @ts-expect-error the id of a person is a number
  @Get() id(@CurrentUser('id') id: string): unknown {
    return id;
  }
  // @ts-expect-error a person has no subject
  @Get() subject(@CurrentUser('subject') subject: string): unknown {
    return subject;
  }
}
export async function use(tokens: TokenService, session: OAuthSession): Promise<void> {
  holds<Is<OAuthProviderName, 'github' | 'corp'>>();
  holds<Is<typeof session.provider, 'github' | 'corp'>>();
  await tokens.forUser('u', 'github').fetch(issuer);
  await tokens.getAccessToken({ userId: 'u', provider: session.provider });
  // @ts-expect-error no provider of that name
  tokens.forUser('u', 'githb');
  // @ts-expect-error no provider of that name
  await tokens.getAccessToken({ userId: 'u', provider: 'google' });
}
OAuthModule.forRoot({ ...base, providers, loadUser: (user, session) => (session.provider === 'corp' ? new Person(Number(user.id), 'admin') : null) });
OAuthModule.forRootAsync({ useFactory: async () => ({ ...base, providers, loadUser: async () => new Person(1, 'member') }) });
// @ts-expect-error this is no person
OAuthModule.forRoot({ ...base, providers, loadUser: () => ({ id: 1 }) });
export const all = [google, oauth2, SessionGuard, UseGuards, ParseIntPipe, CurrentSession];
export type Unused = INestApplication | OAuthModuleOptions | ProviderDefinition;
`;

describe('the types of the packed package', () => {
  beforeAll(() => packedPackage(), 300_000);

  it.each([
    ['without anything merged', { always: ALWAYS, plain: PLAIN }],
    ['with the application’s user and providers merged', { always: ALWAYS, merged: MERGED }],
  ])(
    'know the user and the names of providers, %s',
    async (_name, files) => {
      using project = await userProject();
      project.write('tsconfig.json', JSON.stringify({ compilerOptions: COMPILER, include: ['*.ts'] }));
      for (const [name, text] of Object.entries(files)) project.write(`${name}.ts`, text);
      const { code, output } = await project.compile();
      expect(output.trim()).toBe('');
      expect(code).toBe(0);
    },
    120_000,
  );

  it('say what is wrong in words', async () => {
    using project = await userProject();
    project.write('tsconfig.json', JSON.stringify({ compilerOptions: COMPILER, include: ['*.ts'] }));
    project.write('plain.ts', PLAIN.replace('// @ts-expect-error nobody said', '// nobody said'));
    const { output } = await project.compile();
    expect(output).toMatch(/'the decorator gives'.*OAuthTypes/);
  }, 120_000);
});
