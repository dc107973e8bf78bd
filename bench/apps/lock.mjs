// A refresh by hand as many applications have it: one flight per user in each process, nothing between processes.
import pg from 'pg';
import { cookieOf, guardOf, nestApp } from './nest.mjs';
import { refreshTokens } from './token-request.mjs';

export async function seed(client) {
  await client.query(
    `create table lock_tokens (user_id bigint primary key, access_token text, refresh_token text, expires_at timestamptz)`,
  );
}

/** A user whose access token has run out. */
export async function account(client, { number, refreshToken }) {
  await client.query(`insert into lock_tokens values ($1, 'expired', $2, now() - interval '10 seconds')`, [
    number,
    refreshToken,
  ]);
  return `user=${number}`;
}

/** Makes every stored access token old. */
export const expire = (client) => client.query(`update lock_tokens set expires_at = now() - interval '1 hour'`);

export async function build({ platform, port, database, provider }) {
  const pool = new pg.Pool({ connectionString: database, max: 10 });
  const flights = new Map();

  async function fresh(user) {
    const { rows } = await pool.query('select *, expires_at > now() as valid from lock_tokens where user_id = $1', [
      user,
    ]);
    if (rows[0].valid) return rows[0].access_token;
    const tokens = await refreshTokens(provider, rows[0].refresh_token);
    await pool.query(
      `update lock_tokens set access_token = $2, refresh_token = $3, expires_at = now() + make_interval(secs => $4) where user_id = $1`,
      [user, tokens.access_token, tokens.refresh_token, tokens.expires_in],
    );
    return tokens.access_token;
  }

  return nestApp({
    platform,
    port,
    guards: [guardOf((request) => cookieOf(request, 'user') !== undefined)],
    answer: (request) => ({ id: cookieOf(request, 'user') }),
    token: async (request) => {
      const user = cookieOf(request, 'user');
      if (!flights.has(user))
        flights.set(
          user,
          fresh(user).finally(() => flights.delete(user)),
        );
      return { token: await flights.get(user) };
    },
  });
}
