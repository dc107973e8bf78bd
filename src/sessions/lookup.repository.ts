// What guards ask of oauth_sessions: who is alive, by the database clock.
import { Injectable } from '@nestjs/common';
import type { Answered } from '../database/answer-watch.js';
import { Database } from '../database/database.service.js';
import type { TextRow } from '../database/text-query.js';
import { ByHashes } from './by-hashes.js';
import type { SessionRow } from './session-record.js';

/** Neither of a session's ends has come. */
export const LIVE = `s.expires_at > now() and s.idle_expires_at > now()`;

/** A time in milliseconds since the epoch, as {@link SessionRecord} has it. */
export const milliseconds = (column: string) => `date_part('epoch', ${column}) * 1000`;

/**
 * Which version of its row and of its grant's row a session is: the transactions that wrote them. Postgres gives every
 * change of a row, by whomever, another one, and nobody sees two versions by one transaction. Of an account only the profile
 * can change; the login that changes it writes the account's sessions anew, or the grant that they share.
 */
const VERSION = `s.xmin::text || ' ' || coalesce(g.xmin::text, '')`;

/**
 * Each session as one JSON text, in the order of {@link SessionRow}: reading twenty columns costs the driver ten times what
 * JSON does.
 */
const LOOKUP = `
  select json_build_array(
           encode(s.token_hash, 'base64'), s.id, s.user_id, s.account_id, s.grant_id, s.provider, s.sid,
           ${milliseconds('s.auth_time')}, s.acr, s.amr, ${milliseconds('s.created_at')}, ${milliseconds('s.last_seen_at')},
           ${milliseconds('s.idle_expires_at')}, ${milliseconds('s.expires_at')},
           a.issuer, a.subject, a.profile, g.scope, g.version, ${milliseconds('now()')}, ${VERSION})::text as session
  from oauth_sessions s
  join oauth_accounts a on a.id = s.account_id
  left join oauth_grants g on g.id = s.grant_id
  where ${LIVE}`;

const lookups = new ByHashes((hashes) => `${LOOKUP} and s.token_hash in (${hashes.join(', ')})`);

/** One row at most for each, which Postgres takes to mean: by the index, whatever it knows of the table's size. */
const checks = new ByHashes(
  (hashes) => `
  select ${milliseconds('now()')} as now, string_agg(asked.number || ' ' || found.version, ',') as alive
  from (values ${hashes.map((hash, number) => `(${number}, ${hash})`).join(', ')}) as asked (number, hash)
  cross join lateral (
    select ${VERSION} as version
    from oauth_sessions s left join oauth_grants g on g.id = s.grant_id
    where ${LIVE} and s.token_hash = asked.hash
    limit 1
  ) found`,
);

/** The check of one: nothing is gathered, and the version is put together here. That is a twentieth of what it costs. */
const checkOfOne = (also = '') =>
  new ByHashes(
    ([hash]) => `
  select s.xmin, g.xmin${also}
  from oauth_sessions s left join oauth_grants g on g.id = s.grant_id where ${LIVE} and s.token_hash = ${hash}`,
  );
const one = checkOfOne();
/** The time is another twentieth. */
const oneTimed = checkOfOne(`, ${milliseconds('now()')}`);

/** Which sessions are alive, and in which version. */
export interface Alive {
  /** Milliseconds since the epoch, by the database clock; undefined where it was not asked for, or nobody is alive. */
  readonly now: number | undefined;
  /** In the order of the hashes; undefined for a session that is not alive. */
  readonly versions: readonly (string | undefined)[];
}

/** Looks sessions up, as a whole or for their versions alone. */
@Injectable()
export class LookupRepository {
  constructor(private readonly database: Database) {}

  /** Live sessions by the hashes of their cookies, base64: one prepared statement, however many. */
  findLive(hashes: readonly string[], within: number, told: Answered<readonly SessionRow[]>): void {
    const { text, values } = lookups.of(hashes);
    this.database.ask(text, values, within, (error, rows) =>
      error
        ? told(error)
        : told(
            null,
            rows!.map(([session]) => JSON.parse(session!) as SessionRow),
          ),
    );
  }

  /**
   * Which of these are alive, and in which version: as {@link findLive}, at half the cost.
   * @param given.timed whether the time is wanted as well; of several it comes in any case
   */
  check(hashes: readonly string[], { within, timed }: { within: number; timed: boolean }, told: Answered<Alive>): void {
    const single = hashes.length === 1;
    const { text, values } = (single ? (timed ? oneTimed : one) : checks).of(hashes);
    this.database.ask(text, values, within, (error, rows) =>
      error ? told(error) : told(null, single ? oneAlive(rows![0]) : aliveOf(hashes.length, rows![0])),
    );
  }

  /** One live session by its id. */
  async findLiveById(id: string): Promise<SessionRow[]> {
    const found = await this.database.query<{ session: string }>(`${LOOKUP} and s.id = $1::uuid`, [id], {
      retry: true,
    });
    return found.map(({ session }) => JSON.parse(session) as SessionRow);
  }
}

/** What the check of one session says: the two halves of {@link VERSION} and perhaps the time, or nothing. */
function oneAlive(row: TextRow | undefined): Alive {
  if (!row) return { now: undefined, versions: [undefined] };
  const [session, grant, now] = row;
  return { now: now == null ? undefined : Number(now), versions: [`${session} ${grant ?? ''}`] };
}

/** What the check of several says. */
function aliveOf(count: number, row: TextRow | undefined): Alive {
  const [now, alive] = row ?? [];
  const versions: (string | undefined)[] = Array.from({ length: count });
  for (const entry of alive?.split(',') ?? []) {
    const space = entry.indexOf(' ');
    versions[Number(entry.slice(0, space))] = entry.slice(space + 1);
  }
  return { now: Number(now), versions };
}
