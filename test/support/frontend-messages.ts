// Reads the messages that a Postgres client sends, from chunks that end anywhere.
// @see https://www.postgresql.org/docs/18/protocol-message-formats.html

/** The messages that carry SQL or end a batch; all others are `Other`. */
export type FrontendMessage =
  | { type: 'Query'; sql: string }
  | { type: 'Parse'; name: string; sql: string }
  | { type: 'Bind'; portal: string; name: string; parameters: (string | null)[] }
  | { type: 'Execute'; portal: string }
  | { type: 'Sync' }
  | { type: 'Other' };

const SSL_REQUEST = 80877103;
const GSS_REQUEST = 80877104;

/** Reads one connection, from its first byte. */
export class FrontendReader {
  private rest = Buffer.alloc(0);
  private started = false;

  /** The messages that are complete with this chunk. */
  read(chunk: Buffer): FrontendMessage[] {
    this.rest = Buffer.concat([this.rest, chunk]);
    const messages: FrontendMessage[] = [];
    for (;;) {
      // The first message has no type byte.
      const head = this.started ? 1 : 0;
      if (this.rest.length < head + 4) return messages;
      const end = head + this.rest.readInt32BE(head);
      if (this.rest.length < end) return messages;
      const body = this.rest.subarray(head + 4, end);
      if (this.started) messages.push(parse(String.fromCharCode(this.rest[0] ?? 0), body));
      else this.started = ![SSL_REQUEST, GSS_REQUEST].includes(body.readInt32BE(0));
      this.rest = this.rest.subarray(end);
    }
  }
}

function parse(type: string, body: Buffer): FrontendMessage {
  const read = new Fields(body);
  switch (type) {
    case 'Q':
      return { type: 'Query', sql: read.text() };
    case 'P':
      return { type: 'Parse', name: read.text(), sql: read.text() };
    case 'B':
      return bind(read);
    case 'E':
      return { type: 'Execute', portal: read.text() };
    case 'S':
      return { type: 'Sync' };
    default:
      return { type: 'Other' };
  }
}

function bind(read: Fields): FrontendMessage {
  const portal = read.text();
  const name = read.text();
  const formats = Array.from({ length: read.int16() }, () => read.int16());
  const parameters = Array.from({ length: read.int16() }, (_, index) => {
    const value = read.bytes(read.int32());
    const binary = (formats.length === 1 ? formats[0] : formats[index]) === 1;
    return value && (binary ? `\\x${value.toString('hex')}` : value.toString('utf8'));
  });
  return { type: 'Bind', portal, name, parameters };
}

/** The fields of a message body, one after another. */
class Fields {
  private at = 0;

  constructor(private readonly body: Buffer) {}

  text(): string {
    const end = this.body.indexOf(0, this.at);
    const value = this.body.toString('utf8', this.at, end);
    this.at = end + 1;
    return value;
  }

  int16(): number {
    this.at += 2;
    return this.body.readInt16BE(this.at - 2);
  }

  int32(): number {
    this.at += 4;
    return this.body.readInt32BE(this.at - 4);
  }

  /** Length -1 is SQL's null. */
  bytes(length: number): Buffer | null {
    if (length < 0) return null;
    this.at += length;
    return this.body.subarray(this.at - length, this.at);
  }
}
