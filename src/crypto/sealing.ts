// Secrets at rest: compact JWE (RFC 7516), alg A256KW, enc A256GCM, bound to where they are stored.
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { OAuthError } from '../errors/oauth-error.js';
import { type KeyRing, UnknownKeyError, type WrappedKey } from './key-ring.js';

/**
 * Where a sealed value lives: table, column, then what names the row. It is part of the authenticated header, so a
 * ciphertext copied to another row, column or tenant does not open.
 */
export type SealContext = readonly [table: string, column: string, ...row: string[]];

const IV_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;
/** A key ring that has not answered by then is taken to be away. Milliseconds. */
const KEY_RING_DEADLINE = 5_000;

/** Seals and opens values with the content keys of one {@link KeyRing}. */
export class Sealer {
  /** @param onFault told of every failure, for the operator's alarm */
  constructor(
    readonly keyRing: KeyRing,
    private readonly onFault: (cause: unknown) => void = () => undefined,
  ) {}

  /**
   * Seals a text: a fresh content key and IV each time, so no limit on the number of values ever binds.
   * @returns compact JWE
   * @throws {OAuthError} `key_unavailable` when the key ring fails.
   */
  async seal(context: SealContext, plaintext: string): Promise<string> {
    // Asking the generator costs more than what it gives. The key is copied, so that no key ring finds the IV behind it.
    const drawn = randomBytes(KEY_BYTES + IV_BYTES);
    const contentKey = new Uint8Array(drawn.subarray(0, KEY_BYTES));
    const iv = drawn.subarray(KEY_BYTES);
    // It has its own copy of the key from here on: a key ring that wipes what it has wrapped takes nothing away.
    const cipher = createCipheriv('aes-256-gcm', contentKey, iv, { authTagLength: TAG_BYTES });
    const wrapped = this.#answered(() => this.keyRing.wrap(contentKey));
    const { keyId, encryptedKey } = this.#usable(wrapped instanceof Promise ? await wrapped : wrapped);
    const header = base64url(JSON.stringify({ alg: 'A256KW', enc: 'A256GCM', kid: keyId, ctx: context }));
    cipher.setAAD(Buffer.from(header, 'ascii'));
    // A mode that works on streams leaves nothing for the end; an encoding for both would be a decoder of its own.
    const ciphertext = cipher.update(plaintext, 'utf8');
    cipher.final();
    return `${header}.${base64url(encryptedKey)}.${base64url(iv)}.${base64url(ciphertext)}.${base64url(cipher.getAuthTag())}`;
  }

  /**
   * Opens what {@link seal} made in the same context.
   * @throws {OAuthError} `key_unavailable`, one answer for every reason: unknown key id, wrong key, changed value, other context.
   */
  async open(context: SealContext, sealed: string): Promise<string> {
    const parts = parse(sealed);
    if (!parts || JSON.stringify(parts.context) !== JSON.stringify(context)) {
      throw this.#unreadable(new Error('sealed value is malformed or was stored elsewhere'));
    }
    const unwrapped = this.#answered(() => this.keyRing.unwrap(parts.keyId, parts.encryptedKey));
    const contentKey = unwrapped instanceof Promise ? await unwrapped : unwrapped;
    try {
      const decipher = createDecipheriv('aes-256-gcm', contentKey, parts.iv, { authTagLength: TAG_BYTES });
      decipher.setAAD(Buffer.from(parts.header, 'ascii'));
      decipher.setAuthTag(parts.tag);
      const plaintext = decipher.update(parts.ciphertext);
      // It checks the tag: nothing unauthenticated leaves this function.
      decipher.final();
      return plaintext.toString('utf8');
    } catch (cause) {
      throw this.#unreadable(cause);
    }
  }

  /**
   * The same value sealed anew with the current key, for the place it was sealed for.
   * @throws {OAuthError} `key_unavailable`
   */
  async reseal(sealed: string): Promise<string> {
    const context = parse(sealed)?.context;
    if (!isContext(context)) throw this.#unreadable(new Error('sealed value is malformed'));
    return this.seal(context, await this.open(context, sealed));
  }

  /** What the key ring says; a promise only where it is asynchronous. */
  #answered<T>(ask: () => T | Promise<T>): T | Promise<T> {
    try {
      const answer = ask();
      if (!isThenable(answer)) return answer;
      return inTime(Promise.resolve(answer)).catch((cause: unknown) => {
        throw this.#unreadable(cause);
      });
    } catch (cause) {
      throw this.#unreadable(cause);
    }
  }

  /** A wrapped key that can be stored and found again: what is sealed with any other is lost. */
  #usable(wrapped: Partial<WrappedKey> | null): WrappedKey {
    const { keyId, encryptedKey } = wrapped ?? {};
    if (typeof keyId === 'string' && ArrayBuffer.isView(encryptedKey) && encryptedKey.byteLength > 0)
      return { keyId, encryptedKey };
    throw this.#unreadable(new Error('wrap() of the key ring must answer with keyId, a text, and encryptedKey, bytes'));
  }

  #unreadable(cause: unknown): OAuthError {
    this.onFault(cause);
    return unreadable(cause);
  }
}

/** The key id in a sealed value's header, or undefined for what is no sealed value. Nothing is authenticated by this. */
export function sealedKeyId(sealed: string): string | undefined {
  return parse(sealed)?.keyId;
}

/** The one of several contexts that a value claims to be sealed for, else the first. Opening it proves the claim. */
export function claimedContext(sealed: string, allowed: readonly [SealContext, ...SealContext[]]): SealContext {
  const claimed = JSON.stringify(parse(sealed)?.context);
  return allowed.find((context) => JSON.stringify(context) === claimed) ?? allowed[0];
}

interface SealedParts {
  header: string;
  keyId: string;
  context: unknown;
  encryptedKey: Buffer;
  iv: Buffer;
  ciphertext: Buffer;
  tag: Buffer;
}

function parse(sealed: string): SealedParts | undefined {
  const parts = sealed.split('.');
  if (parts.length !== 5) return undefined;
  const [header, ...rest] = parts as [string, ...string[]];
  const decoded = [header, ...rest].map(canonical);
  if (decoded.some((part) => part === undefined)) return undefined;
  const [headerBytes, encryptedKey, iv, ciphertext, tag] = decoded as [Buffer, Buffer, Buffer, Buffer, Buffer];
  if (iv.length !== IV_BYTES || tag.length !== TAG_BYTES) return undefined;
  let fields: unknown;
  try {
    fields = JSON.parse(headerBytes.toString('utf8'));
  } catch {
    return undefined;
  }
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) return undefined;
  const { alg, enc, kid, ctx, ...unknown } = fields as Record<string, unknown>;
  if (alg !== 'A256KW' || enc !== 'A256GCM' || typeof kid !== 'string' || Object.keys(unknown).length > 0)
    return undefined;
  return { header, keyId: kid, context: ctx, encryptedKey, iv, ciphertext, tag };
}

function isContext(value: unknown): value is SealContext {
  return Array.isArray(value) && value.length >= 2 && value.every((part) => typeof part === 'string');
}

/** Decodes base64url in its one canonical spelling; anything else (padding, spare bits, other alphabet) is undefined. */
function canonical(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes : undefined;
}

function base64url(value: string | Uint8Array): string {
  // What is a Buffer already need not be copied to be spelled.
  return (Buffer.isBuffer(value) ? value : Buffer.from(value as Uint8Array)).toString('base64url');
}

/** Also a promise of another library's, or of another realm. */
function isThenable<T>(answer: T | PromiseLike<T>): answer is PromiseLike<T> {
  return typeof (answer as Partial<PromiseLike<T>> | null)?.then === 'function';
}

/** Awaits the key ring no longer than its deadline. */
function inTime<T>(answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('the key ring did not answer in time')), KEY_RING_DEADLINE);
  });
  return Promise.race([answer, deadline]).finally(() => clearTimeout(timer));
}

function unreadable(cause: unknown): OAuthError {
  return new OAuthError('key_unavailable', {
    cause:
      cause instanceof UnknownKeyError
        ? cause
        : new Error(`sealed value: ${cause instanceof Error ? cause.message : 'unreadable'}`),
  });
}
