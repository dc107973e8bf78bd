// What a storm blows against: one Postgres (directly, or through PgBouncer), one provider that rotates refresh tokens
// and punishes reuse, and grants in both.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { LocalKeyRing } from '../../src/crypto/key-ring.js';
import { randomId, randomToken } from '../../src/crypto/random.js';
import { Sealer } from '../../src/crypto/sealing.js';
import { accessTokenContext, refreshTokenContext } from '../../src/grants/grant-sealing.js';
import { FakeProvider } from '../../src/testing/index.js';
import type { TokenStore } from '../../src/testing/token-store.js';

/** How processes reach the database. */
export type Route = 'direct' | 'pgbouncer' | 'no-listen';

/** The key of all processes. */
export const STORM_KEY = randomToken();

/** A seeded grant. */
export interface SeededGrant {
  readonly id: string;
  readonly subject: string;
}

/** Starts a provider for storms: fast to ask, hard to please. */
export function stormProvider(): Promise<FakeProvider> {
  return FakeProvider.start({ oidc: false, expiresIn: 3600, recordRequests: false, recordIssued: false });
}

/** The provider's own records. */
export function storeOf(provider: FakeProvider): TokenStore {
  return (provider as unknown as { core: { store: TokenStore } }).core.store;
}

/** Definition of the provider as the processes configure it. */
export function definitionOf(provider: FakeProvider, timeout: number): object {
  return {
    name: 'storm',
    clientId: 'client',
    clientSecret: 'secret',
    authorizationEndpoint: provider.endpoint('authorize'),
    tokenEndpoint: provider.endpoint('token'),
    timeout,
  };
}

/** Puts grants with expired access tokens into database and provider. */
export async function seed(database: pg.Pool, provider: FakeProvider, count: number): Promise<SeededGrant[]> {
  const sealer = new Sealer(new LocalKeyRing([{ id: 'storm', bytes: Buffer.from(STORM_KEY, 'base64url') }]));
  const store = storeOf(provider);
  const grants: SeededGrant[] = [];
  for (let index = 0; index < count; index++) {
    const subject = `user-${randomId()}`;
    const [accountId, id] = [randomId(), randomId()];
    const owner = { provider: 'storm', issuer: 'oauth2:storm', subject, sessionGrantId: null };
    const refreshToken = `rt_${randomToken()}`;
    const grant = {
      id: store.nextGrantId(), clientId: 'client', user: { sub: subject }, scope: 'all', resources: [], sid: id, revoked: false, accessTokens: 0,
    }; // prettier-ignore
    store.refreshTokens.set(refreshToken, { value: refreshToken, grant, revoked: false, expiresAt: Infinity });
    await database.query(
      `with account as (
         insert into oauth_accounts (id, provider, issuer, subject, user_id, profile)
         values ($1::uuid, 'storm', 'oauth2:storm', $2::text, $2::text, '{}'::jsonb)
       ), granted as (
         insert into oauth_grants (id, account_id, provider, scope, refresh_token) values ($3::uuid, $1::uuid, 'storm', '{all}', $4::text)
       )
       insert into oauth_access_tokens (grant_id, audience, token, token_type, scope, issued_at, expires_at)
       values ($3::uuid, '', $5::text, 'Bearer', '{all}', now() - interval '2 hours', now() - interval '1 hour')`,
      [
        accountId,
        subject,
        id,
        await sealer.seal(refreshTokenContext(owner), refreshToken),
        await sealer.seal(accessTokenContext(owner, ''), `at_${randomToken()}`),
      ],
    );
    grants.push({ id, subject });
  }
  return grants;
}

/** PgBouncer in transaction mode in front of a database. */
export async function startPgBouncer(url: string): Promise<{ url: string; stop: () => Promise<void> }> {
  const target = new URL(url);
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'nest-oauth-client-pgbouncer-'));
  const name = target.pathname.slice(1);
  writeFileSync(
    join(folder, 'users.txt'),
    `"${decodeURIComponent(target.username)}" "${decodeURIComponent(target.password)}"\n`,
  );
  writeFileSync(
    join(folder, 'pgbouncer.ini'),
    `[databases]
${name} = host=${target.hostname} port=${target.port} dbname=${name}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = plain
auth_file = ${join(folder, 'users.txt')}
pool_mode = transaction
max_client_conn = 500
default_pool_size = 20
ignore_startup_parameters = extra_float_digits
`,
  );
  chmodSync(folder, 0o755);
  const args = [...(process.getuid?.() === 0 ? ['-u', 'nobody'] : []), join(folder, 'pgbouncer.ini')];
  const child = spawn('pgbouncer', args, { stdio: 'ignore' });
  target.hostname = '127.0.0.1';
  target.port = String(port);
  const stop = (): Promise<void> => endChild(child).then(() => rmSync(folder, { recursive: true, force: true }));
  for (let attempt = 0; ; attempt++) {
    const client = new pg.Client({ connectionString: target.href });
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.end();
      return { url: target.href, stop };
    } catch (error) {
      if (attempt === 50 || child.exitCode !== null) {
        await stop();
        throw error;
      }
      await sleep(100);
    }
  }
}

/** Ends a process of ours. */
export async function endChild(child: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill(signal);
  await ended;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  return port;
}
