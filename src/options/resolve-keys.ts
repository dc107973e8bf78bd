// Turns the `encryption` option into a key ring. Messages name keys by id only.
import { type EncryptionKey, KeyRing, LocalKeyRing } from '../crypto/key-ring.js';
import type { EncryptionOptions } from './options.js';
import { kindOf, type Problems, shown } from './problems.js';

/** Checks the keys: 32 bytes each, distinct, not all zero; or takes a key ring as it is. */
export function resolveKeyRing(given: EncryptionOptions | undefined, problems: Problems): KeyRing | undefined {
  if (given === undefined) {
    problems.add(
      `is missing; write { keys: [{ id: '2026-11', secret: process.env.OAUTH_KEY }] }, with a secret printed by "nest-oauth keys generate"`,
    );
    return undefined;
  }
  const { keys, keyRing } = problems.object<EncryptionOptions>(given, ['keys', 'keyRing']);
  if (keyRing !== undefined) {
    if (keys !== undefined) problems.add('takes either keys or keyRing, not both');
    if (!isKeyRing(keyRing))
      problems.at('keyRing').add('must implement KeyRing: currentKeyId, keyIds, wrap() and unwrap()');
    return keyRing;
  }
  const place = problems.at('keys');
  if (!Array.isArray(keys) || keys.length === 0) {
    place.add(`must be a list with at least one key, got ${kindOf(keys)}`);
    return undefined;
  }
  const found: EncryptionKey[] = [];
  for (const [index, item] of keys.entries()) {
    const at = place.at(index);
    const { id, secret } = at.object<{ id: string; secret: string | Uint8Array }>(
      item as { id: string; secret: string },
      ['id', 'secret'],
    );
    if (decodeSecret(id) !== undefined) {
      at.at('id').add('looks like a key; id and secret seem to have been exchanged');
      continue;
    }
    const name = at.at('id').text(id);
    if (name && !/^[\x21-\x7e]{1,64}$/.test(name))
      at.at('id').add(`must be 1 to 64 printable ASCII characters, got ${shown(name)}`);
    if (found.some((key) => key.id === name)) at.at('id').add(`"${name}" is used twice`);
    const bytes = decodeSecret(secret);
    if (!bytes) {
      at.at('secret').add(
        `of key "${name}" must be 32 bytes (base64url, base64 or hex text, or a Uint8Array), got ${describe(secret)}; "nest-oauth keys generate" prints one`,
      );
    } else if (bytes.every((byte) => byte === bytes[0])) {
      at.at('secret').add(`of key "${name}" repeats one byte; use a random key`);
    } else if (found.some((key) => Buffer.compare(key.bytes, bytes) === 0)) {
      at.at('secret').add(`of key "${name}" is the same as another key's`);
    } else {
      found.push({ id: name, bytes });
    }
  }
  return found.length > 0 ? new LocalKeyRing(found) : undefined;
}

/** 32 bytes out of any accepted spelling, else undefined. */
export function decodeSecret(secret: unknown): Uint8Array | undefined {
  if (secret instanceof Uint8Array) return secret.length === 32 ? Uint8Array.from(secret) : undefined;
  if (typeof secret !== 'string') return undefined;
  const text = secret.trim();
  if (/^[0-9a-fA-F]{64}$/.test(text)) return Buffer.from(text, 'hex');
  if (!/^[A-Za-z0-9_-]{43}=?$/.test(text) && !/^[A-Za-z0-9+/]{43}=?$/.test(text)) return undefined;
  const bytes = Buffer.from(text, 'base64');
  return bytes.length === 32 ? bytes : undefined;
}

function isKeyRing(value: unknown): value is KeyRing {
  const ring = value as Partial<KeyRing> | null;
  return (
    ring instanceof KeyRing ||
    (typeof ring?.currentKeyId === 'string' &&
      Array.isArray(ring.keyIds) &&
      typeof ring.wrap === 'function' &&
      typeof ring.unwrap === 'function')
  );
}

function describe(secret: unknown): string {
  if (secret instanceof Uint8Array) return `${secret.length} bytes`;
  return typeof secret === 'string' ? `a text of ${secret.length} characters` : kindOf(secret);
}
