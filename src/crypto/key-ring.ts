// Named encryption keys, the current one first. An interface, so that a KMS can wrap the content keys instead.
import { createCipheriv, createDecipheriv } from 'node:crypto';

/** A content key as wrapped by a {@link KeyRing}. */
export interface WrappedKey {
  /** Id of the key that wrapped it; becomes `kid` in the JWE header. */
  readonly keyId: string;
  /** The wrapped 32-byte content key. */
  readonly encryptedKey: Uint8Array;
}

/**
 * Wraps and unwraps the 32-byte content keys of sealed values. The built-in ring holds 256-bit keys in memory
 * (A256KW, RFC 3394); implement this interface to leave the keys in a KMS.
 */
export abstract class KeyRing {
  /** Id of the key that new values are sealed with. */
  abstract readonly currentKeyId: string;
  /** Ids of all keys that this process can unwrap with, the current one first. */
  abstract readonly keyIds: readonly string[];
  /** Wraps a 32-byte content key with the current key. */
  abstract wrap(contentKey: Uint8Array): WrappedKey | Promise<WrappedKey>;
  /**
   * Unwraps a content key with the named key and no other.
   * @throws {UnknownKeyError} when there is no key of that id.
   */
  abstract unwrap(keyId: string, encryptedKey: Uint8Array): Uint8Array | Promise<Uint8Array>;
}

/** The ring has no key of this id: a key was removed too early, or is not deployed here yet. The operator's mistake, never the user's. */
export class UnknownKeyError extends Error {
  constructor(readonly keyId: string) {
    super(`no encryption key with id ${JSON.stringify(keyId)} is configured`);
    this.name = 'UnknownKeyError';
  }
}

/** A named 256-bit key. */
export interface EncryptionKey {
  readonly id: string;
  /** 32 bytes. */
  readonly bytes: Uint8Array;
}

/** The initial value of RFC 3394 §2.2.3.1. */
const KEY_WRAP_IV = Buffer.alloc(8, 0xa6);

/** Keys held in this process, wrapping by AES-256 key wrap (`A256KW`, RFC 7518 §4.4). */
export class LocalKeyRing extends KeyRing {
  readonly currentKeyId: string;
  readonly keyIds: readonly string[];
  readonly #keys: ReadonlyMap<string, Uint8Array>;

  /** @param keys distinct keys, the current one first. */
  constructor(keys: readonly EncryptionKey[]) {
    super();
    const [current] = keys;
    if (!current) throw new TypeError('LocalKeyRing needs at least one key');
    this.currentKeyId = current.id;
    this.keyIds = keys.map((key) => key.id);
    this.#keys = new Map(keys.map((key) => [key.id, key.bytes]));
  }

  wrap(contentKey: Uint8Array): WrappedKey {
    const cipher = createCipheriv('id-aes256-wrap', this.#key(this.currentKeyId), KEY_WRAP_IV);
    return { keyId: this.currentKeyId, encryptedKey: Buffer.concat([cipher.update(contentKey), cipher.final()]) };
  }

  unwrap(keyId: string, encryptedKey: Uint8Array): Uint8Array {
    const decipher = createDecipheriv('id-aes256-wrap', this.#key(keyId), KEY_WRAP_IV);
    return Buffer.concat([decipher.update(encryptedKey), decipher.final()]);
  }

  #key(id: string): Uint8Array {
    const key = this.#keys.get(id);
    if (!key) throw new UnknownKeyError(id);
    return key;
  }
}
