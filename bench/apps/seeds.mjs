// Rows and cookies that agree: session number i has the same secret in JavaScript and in SQL.
import { createHash, createHmac } from 'node:crypto';

/** The secret of session number `i`: 43 characters of base64url. */
export const secretOf = (i) => createHash('sha256').update(`bench:${i}`).digest('base64url');

/** The same secret as an SQL expression over a column `i`. */
export const secretSql = `rtrim(translate(encode(sha256(('bench:' || i)::bytea), 'base64'), '+/', '-_'), '=')`;

/** HMAC-SHA256 in base64, as express-session and better-auth sign their cookies. */
export const signature = (value, secret) => createHmac('sha256', secret).update(value).digest('base64');

/** The key every variant signs with. */
export const signingSecret = 'a benchmark secret of more than thirty-two characters';

/** How many distinct users `n` sessions belong to: ten sessions a user would be many, so two. */
export const usersFor = (n) => Math.max(1, Math.ceil(n / 2));
