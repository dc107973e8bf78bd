// Which statements may be prepared, and under which names.
import { createHash } from 'node:crypto';
import type { PoolClient } from 'pg';
import type { Connections } from './connections.js';
import { Deadline } from './deadline.js';

/** Names of prepared statements, on connections that reach Postgres itself. */
export class PreparedNames {
  #direct: Promise<boolean> | undefined;
  /** Answered, and with yes: a transaction may not ask, for it would need a second connection. */
  #known = false;
  readonly #names = new Map<string, string>();

  /** @param timeout milliseconds for asking */
  constructor(
    private readonly connections: Connections,
    private readonly timeout: number,
  ) {}

  /**
   * True when the pool reaches Postgres itself and not a transaction pooler: only then names and LISTEN mean anything. Asked
   * once; where there is no answer, asked anew the next time.
   */
  async isDirect(): Promise<boolean> {
    this.#direct ??= this.#ask().catch((error: unknown) => {
      this.#direct = undefined;
      throw error;
    });
    return this.#direct;
  }

  /** The name of a statement where connections are known to be direct by now. */
  ifKnown(text: string): string | undefined {
    return this.#known ? this.#nameOf(text) : undefined;
  }

  /** The name of a statement once it is known whether connections are direct; none where they are not, or do not answer. */
  async onceKnown(text: string): Promise<string | undefined> {
    return (await this.isDirect().catch(() => false)) ? this.#nameOf(text) : undefined;
  }

  #ask(): Promise<boolean> {
    const deadline = new Deadline(this.timeout);
    return this.connections.lend(deadline, async (client) => {
      const statement = { text: 'select pg_backend_pid() as pid' };
      const { rows } = await this.connections.send<{ pid: number }>(client, statement, deadline.forStatement);
      this.#known = rows[0]?.pid === (client as PoolClient & { processID?: number }).processID;
      return this.#known;
    });
  }

  /** Names carry a hash of their SQL: two versions of this package on one database never share a name. */
  #nameOf(text: string): string {
    let name = this.#names.get(text);
    if (!name) {
      name = `oauth_${createHash('sha256').update(text).digest('hex').slice(0, 16)}`;
      this.#names.set(text, name);
    }
    return name;
  }
}
