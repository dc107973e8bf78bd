// One database per family of variants and size, filled by SQL so that a million sessions take seconds.
import pg from 'pg';
import { catalogue } from '../apps/catalogue.mjs';

/**
 * Makes and fills the databases that the variants need.
 *
 * @param {{ postgres: any, variants: string[], sessions: number, log: (text: string) => void }} options
 * @returns {Promise<{ url: (variant: string) => string | undefined, query: (variant: string, run: (client: pg.Client) => Promise<unknown>) => Promise<any>, drop: () => Promise<void> }>}
 */
export async function makeStores({ postgres, variants, sessions, log }) {
  const made = new Map();
  for (const variant of variants) {
    const { store, load, copyOf } = catalogue[variant];
    if (!store || made.has(store)) continue;
    const database = `${store}_${sessions}`;
    const url = postgres.url(database);
    const begun = Date.now();
    const original = made.get(copyOf);
    await postgres.everyCore(async () => {
      await postgres.create(database, original?.database);
      const { seed, upgrade } = await load();
      if (original) return upgrade(url);
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      await seed?.(client, sessions, url, variant);
      await client.query('vacuum analyze');
      await client.end();
    });
    made.set(store, { database, url });
    if (Date.now() - begun > 3000) log(`  filled ${database} in ${Math.round((Date.now() - begun) / 1000)} s`);
  }
  const of = (variant) => made.get(catalogue[variant].store);
  return {
    url: (variant) => of(variant)?.url,
    async query(variant, run) {
      const client = new pg.Client({ connectionString: of(variant).url });
      await client.connect();
      try {
        return await run(client);
      } finally {
        await client.end();
      }
    },
    async drop() {
      for (const { database } of made.values()) await postgres.drop(database);
    },
  };
}
