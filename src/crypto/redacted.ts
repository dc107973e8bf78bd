// Objects that carry secrets and must not show them when printed, serialised or put into a message.
import { inspect } from 'node:util';

/** Base of value objects whose members are secret: printing, JSON and string conversion show only the class name. */
export abstract class Redacted {
  /** `[redacted]` in place of the members. */
  toJSON(): string {
    return '[redacted]';
  }

  /** `ClassName([redacted])` */
  toString(): string {
    return `${this.constructor.name}([redacted])`;
  }

  /** What `console.log` and `util.inspect` show. */
  [inspect.custom](): string {
    return this.toString();
  }
}
