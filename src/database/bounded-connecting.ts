// Connections that are not made in time are given up.
import type { Client, ClientConfig, Pool } from 'pg';

/** What pg-pool has besides its types. */
interface OpenPool {
  Client: new (config: ClientConfig) => Client;
  options: ClientConfig;
}

const bounded = new WeakSet<Pool>();

/**
 * Gives up connections that are not made in time, unless the application has set a bound (`connectTimeoutMS`). Without
 * one, a server that accepts and says nothing keeps places of the pool for ever, and the pool from ending at shutdown.
 * How long the application itself waits for a place stays its own affair.
 * @param timeout milliseconds
 */
export function boundConnecting(pool: Pool, timeout: number): void {
  const open = pool as unknown as OpenPool;
  if (bounded.has(pool) || open.options.connectionTimeoutMillis) return;
  bounded.add(pool);
  open.Client = class extends open.Client {
    constructor(config: ClientConfig) {
      // The pool hides its password from enumeration.
      super({ ...config, password: config.password, connectionTimeoutMillis: timeout });
    }
  };
}
