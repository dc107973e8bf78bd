// A log of the SQL that really reaches Postgres: a proxy that reads the wire protocol, whatever library speaks it.
// It can also break a connection exactly before or after a given statement.
// @see https://www.postgresql.org/docs/18/protocol-message-formats.html
import { setImmediate as tick } from 'node:timers/promises';
import { FrontendReader, type FrontendMessage } from './frontend-messages.js';
import { startTcpProxy, type ProxiedConnection, type TcpProxy } from './tcp-proxy.js';

/** What a statement does to the transaction around it, judged by its first word. */
export type StatementKind = 'begin' | 'commit' | 'rollback' | 'listen' | 'other';

/** One statement as it was executed. */
export interface LoggedStatement {
  readonly sql: string;
  /** Parameters as text; those in binary format as hex with a leading `\x`. Empty for a simple query. */
  readonly parameters: readonly (string | null)[];
  readonly kind: StatementKind;
  /** Name of the prepared statement, or an empty string. */
  readonly name: string;
  /** Which connection, counted from 1. */
  readonly connection: number;
  /** When it passed, in milliseconds since the epoch. */
  readonly at: number;
}

/**
 * What becomes of a statement: passed on; the connection reset before the server saw it; or passed on and the
 * connection reset as soon as the server answers, so that it was executed but the client never learns.
 */
export type Fate = 'pass' | 'cut' | 'lose-answer';

/** See {@link startQueryLog}. */
export interface QueryLog extends AsyncDisposable {
  /** The database's URL through the proxy: give this one to the application. */
  readonly url: string;
  /** The proxy itself, to cut, stall, delay or refuse. */
  readonly proxy: TcpProxy;
  /** Every statement since the start or the last `clear()`, in the order they passed. */
  readonly statements: LoggedStatement[];
  /** The statements that are not `begin`, `commit`, `rollback`: what a budget of statements counts. */
  readonly work: LoggedStatement[];
  /** Waits of a client for an answer (`Sync` or simple query messages) since the start or the last `clear()`. */
  readonly roundTrips: number;
  /** Decides the fate of each statement; may be set and changed at any time. */
  decide: ((statement: LoggedStatement) => Fate) | undefined;
  /** Forgets what was logged; prepared statements stay known. */
  clear(): void;
  close(): Promise<void>;
}

/**
 * Starts a log in front of a database.
 *
 * @param options.url The database's own connection URL, without TLS.
 */
export async function startQueryLog(options: { url: string }): Promise<QueryLog> {
  const connections = new Map<number, Reading>();
  let statements: LoggedStatement[] = [];
  let roundTrips = 0;

  const proxy = await startTcpProxy({
    target: options.url,
    onClientData(chunk, connection) {
      let reading = connections.get(connection.id);
      if (!reading) connections.set(connection.id, (reading = new Reading(connection)));
      for (const message of reading.messages(chunk)) {
        if (message.type === 'Sync' || message.type === 'Query') roundTrips++;
        const statement = reading.statement(message);
        if (!statement) continue;
        statements.push(statement);
        const fate = log.decide?.(statement) ?? 'pass';
        if (fate === 'lose-answer') reading.deaf = true;
        if (fate === 'cut') {
          connection.cut();
          return null;
        }
      }
      return chunk;
    },
    onServerData(chunk, connection) {
      if (!connections.get(connection.id)?.deaf) return chunk;
      // The server commits before it answers, so by now the statement has had its effect.
      void tick().then(() => connection.cut());
      return null;
    },
  });

  const log: QueryLog = {
    url: proxy.urlFor(options.url),
    proxy,
    decide: undefined,
    get statements() {
      return statements;
    },
    get work() {
      return statements.filter(({ kind }) => kind === 'other' || kind === 'listen');
    },
    get roundTrips() {
      return roundTrips;
    },
    clear() {
      statements = [];
      roundTrips = 0;
    },
    close: () => proxy.close(),
    [Symbol.asyncDispose]: () => proxy.close(),
  };
  return log;
}

/** What is known of one connection: its prepared statements and bound portals. */
class Reading {
  deaf = false;
  private readonly reader = new FrontendReader();
  private readonly prepared = new Map<string, string>();
  private readonly portals = new Map<string, { sql: string; name: string; parameters: (string | null)[] }>();

  constructor(private readonly connection: ProxiedConnection) {}

  messages(chunk: Buffer): FrontendMessage[] {
    return this.reader.read(chunk);
  }

  /** The statement that a message executes, if it is one that does. */
  statement(message: FrontendMessage): LoggedStatement | undefined {
    if (message.type === 'Parse') this.prepared.set(message.name, message.sql);
    if (message.type === 'Bind') {
      const { portal, name, parameters } = message;
      this.portals.set(portal, { sql: this.prepared.get(name) ?? '', name, parameters });
    }
    if (message.type === 'Query') return this.entry({ sql: message.sql, name: '', parameters: [] });
    const portal = message.type === 'Execute' ? this.portals.get(message.portal) : undefined;
    return portal && this.entry(portal);
  }

  private entry(of: { sql: string; name: string; parameters: (string | null)[] }): LoggedStatement {
    return { ...of, kind: kindOf(of.sql), connection: this.connection.id, at: Date.now() };
  }
}

/** Judges by the first word, after comments. */
function kindOf(sql: string): StatementKind {
  const word = /^(?:\s|--.*\n|\/\*[^]*?\*\/)*([a-z]*)/i.exec(sql)?.[1]?.toLowerCase();
  if (word === 'begin' || word === 'start') return 'begin';
  if (word === 'commit' || word === 'end') return 'commit';
  if (word === 'rollback' || word === 'abort') return 'rollback';
  return word === 'listen' || word === 'unlisten' ? 'listen' : 'other';
}
