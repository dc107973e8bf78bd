// @ts-check
// Where the identity provider keeps its tokens, grants and sessions: in memory, one store per provider, nothing evicted.
// @see https://github.com/panva/node-oidc-provider/blob/main/docs/README.md#adapter

/** @typedef {Record<string, unknown> & { grantId?: string, uid?: string, accountId?: string, consumed?: number }} Payload */
/** @typedef {{ payload: Payload, expires: number }} Entry */

/** The models that hang on a grant, and go when it is revoked. */
const GRANTABLE = new Set(['AccessToken', 'AuthorizationCode', 'RefreshToken', 'DeviceCode']);

/** All records of one provider, by `Model:id`. */
export class MemoryStore {
  /** @type {Map<string, Entry>} */
  entries = new Map();

  /**
   * Removes the records that a test or an administrator picks.
   *
   * @param {(model: string, payload: Payload) => boolean} unwanted
   * @returns {number} How many were removed.
   */
  remove(unwanted) {
    const keys = [...this.entries].filter(([key, { payload }]) => unwanted(key.split(':', 1)[0] ?? '', payload));
    for (const [key] of keys) this.entries.delete(key);
    return keys.length;
  }

  /** The factory that `oidc-provider` calls for each of its models. @returns {(model: string) => MemoryAdapter} */
  get adapter() {
    return (model) => new MemoryAdapter(model, this);
  }
}

/** One model's view of the store. */
class MemoryAdapter {
  /** @param {string} model @param {MemoryStore} store */
  constructor(model, store) {
    this.model = model;
    this.store = store;
  }

  /** @param {string} id @param {Payload} payload @param {number} [expiresIn] Seconds. */
  async upsert(id, payload, expiresIn) {
    const expires = expiresIn === undefined ? Infinity : Date.now() + expiresIn * 1000;
    this.store.entries.set(this.#key(id), { payload, expires });
  }

  /** @param {string} id */
  async find(id) {
    const entry = this.store.entries.get(this.#key(id));
    return entry && entry.expires > Date.now() ? entry.payload : undefined;
  }

  /** @param {string} uid */
  async findByUid(uid) {
    const wanted = [...this.store.entries].find(
      ([key, { payload, expires }]) => key.startsWith(`${this.model}:`) && payload.uid === uid && expires > Date.now(),
    );
    return wanted?.[1].payload;
  }

  async findByUserCode() {
    return undefined;
  }

  /** @param {string} id */
  async consume(id) {
    const entry = this.store.entries.get(this.#key(id));
    if (entry) entry.payload.consumed = Math.floor(Date.now() / 1000);
  }

  /** @param {string} id */
  async destroy(id) {
    this.store.entries.delete(this.#key(id));
  }

  /** @param {string} grantId */
  async revokeByGrantId(grantId) {
    this.store.remove((model, payload) => GRANTABLE.has(model) && payload.grantId === grantId);
  }

  /** @param {string} id */
  #key(id) {
    return `${this.model}:${id}`;
  }
}
