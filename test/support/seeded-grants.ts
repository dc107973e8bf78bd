// Many grants at once, in database and provider, without a login each: for tests about numbers.
import { LocalKeyRing } from '../../src/crypto/key-ring.js';
import { randomId, randomToken } from '../../src/crypto/random.js';
import { Sealer } from '../../src/crypto/sealing.js';
import { accessTokenContext, dpopKeyContext, refreshTokenContext } from '../../src/grants/grant-sealing.js';
import { dpopThumbprint, newDpopKey } from '../../src/providers/dpop.js';
import { storeOf } from '../storm/surroundings.js';
import { TEST_KEY } from './app.js';
import type { Grants } from './grants.js';

/** What {@link seedGrants} makes. */
export interface SeedOptions {
  /** Seconds since the access tokens were issued. @defaultValue 7200 */
  age?: number;
  /** Stated life of the access tokens, seconds. @defaultValue 3600 */
  lifetime?: number;
  /** Seconds until the refresh tokens lapse. @defaultValue not known */
  refreshExpiresIn?: number;
  /** Each grant with a key of its own. @defaultValue false */
  dpop?: boolean;
}

/** A grant as it was seeded. */
export interface SeededGrant {
  readonly id: string;
  readonly accountId: string;
  readonly subject: string;
  /** Thumbprint of its key. */
  readonly jkt: string | undefined;
}

/** The sealer of the applications under test. */
export function testSealer(): Sealer {
  return new Sealer(new LocalKeyRing([{ id: 'test', bytes: Buffer.from(TEST_KEY, 'base64url') }]));
}

/** Makes account-bound grants of as many users. */
export async function seedGrants(
  { database, provider }: Grants,
  count: number,
  { age = 7_200, lifetime = 3_600, refreshExpiresIn, dpop = false }: SeedOptions = {},
): Promise<SeededGrant[]> {
  const sealer = testSealer();
  const store = storeOf(provider);
  const seeded: SeededGrant[] = [];
  const columns: (string | null)[][] = [[], [], [], [], [], []];
  for (let index = 0; index < count; index++) {
    const [accountId, id, subject] = [randomId(), randomId(), `user-${randomId()}`];
    const owner = { provider: 'fake', issuer: provider.issuer, subject, sessionGrantId: null };
    const refreshToken = `rt_${randomToken()}`;
    const grant = {
      ...{ id: store.nextGrantId(), clientId: 'client', user: { sub: subject }, scope: 'all', resources: [], sid: id },
      ...{ revoked: false, accessTokens: 0 },
    };
    store.refreshTokens.set(refreshToken, { value: refreshToken, grant, revoked: false, expiresAt: Infinity });
    const key = dpop ? await newDpopKey() : null;
    seeded.push({ id, accountId, subject, jkt: key === null ? undefined : await dpopThumbprint(key) });
    const row = [
      ...[accountId, subject, id, await sealer.seal(refreshTokenContext(owner), refreshToken)],
      await sealer.seal(accessTokenContext(owner, ''), `at_${randomToken()}`),
      key === null ? null : await sealer.seal(dpopKeyContext(owner), key),
    ];
    row.forEach((value, column) => columns[column]!.push(value));
  }
  await database.query(
    `with given as (
       select * from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[])
         as g (account_id, subject, id, refresh_token, token, dpop_key)
     ), account as (
       insert into oauth_accounts (id, provider, issuer, subject, user_id, profile)
       select account_id, 'fake', $7::text, subject, subject, '{}'::jsonb from given
     ), granted as (
       insert into oauth_grants (id, account_id, provider, scope, refresh_token, refresh_expires_at, dpop_key, created_at)
       select id, account_id, 'fake', '{all}', refresh_token, now() + make_interval(secs => $10::double precision), dpop_key,
              now() - make_interval(secs => $8::double precision)
       from given
     )
     insert into oauth_access_tokens (grant_id, audience, token, token_type, scope, issued_at, expires_at)
     select id, '', token, case when dpop_key is null then 'Bearer' else 'DPoP' end, '{all}',
            now() - make_interval(secs => $8::double precision),
            now() - make_interval(secs => $8::double precision) + make_interval(secs => $9::double precision)
     from given`,
    [...columns, provider.issuer, age, lifetime, refreshExpiresIn ?? null],
  );
  return seeded;
}
