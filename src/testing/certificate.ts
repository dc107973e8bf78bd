// Makes X.509 certificates (RFC 5280) for https providers and for client certificates: good, expired, for another host,
// self-signed or signed by an authority of the test's own.
import { createPrivateKey, generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';

/** A certificate and its key, both PEM. */
export interface FakeCertificate {
  key: string;
  cert: string;
  /** Common name of its subject. */
  commonName: string;
}

/** What a certificate says. */
export interface CertificateOptions {
  /** @defaultValue `'localhost'` */
  commonName?: string;
  /** DNS names it is good for; none for a client's or an authority's. @defaultValue the common name */
  hosts?: string[];
  /** @defaultValue an hour ago */
  notBefore?: Date;
  /** @defaultValue a day from now */
  notAfter?: Date;
  /** Who signs it. Left out, it signs itself. */
  issuer?: FakeCertificate;
  /** Whether it may sign others. @defaultValue `false` */
  authority?: boolean;
}

const ECDSA_SHA256 = '06082a8648ce3d040302';
const COMMON_NAME = '0603550403';
const SUBJECT_ALT_NAME = '0603551d11';
const BASIC_CONSTRAINTS = '0603551d13';
const HOUR = 3_600_000;

/** Makes a certificate with a new P-256 key. */
export function makeCertificate(options: CertificateOptions = {}): FakeCertificate {
  const { commonName = 'localhost', hosts = [commonName], issuer, authority = false } = options;
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const signer: KeyObject = issuer ? createPrivateKey(issuer.key) : privateKey;
  const from = options.notBefore ?? new Date(Date.now() - HOUR);
  const to = options.notAfter ?? new Date(Date.now() + 24 * HOUR);
  const algorithm = der(0x30, hex(ECDSA_SHA256));
  const body = der(
    0x30,
    der(0xa0, der(0x02, Buffer.of(2))),
    der(0x02, Buffer.concat([Buffer.of(1), randomBytes(8)])),
    algorithm,
    name(issuer?.commonName ?? commonName),
    der(0x30, time(from), time(to)),
    name(commonName),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, der(0x30, ...extensions(hosts, authority))),
  );
  const signature = sign('sha256', body, signer);
  const whole = der(0x30, body, algorithm, der(0x03, Buffer.of(0), signature));
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { key, cert: pem(whole), commonName };
}

function extensions(hosts: string[], authority: boolean): Buffer[] {
  const constraints = der(0x30, ...(authority ? [der(0x01, Buffer.of(0xff))] : []));
  const basic = der(0x30, hex(BASIC_CONSTRAINTS), der(0x01, Buffer.of(0xff)), der(0x04, constraints));
  if (hosts.length === 0) return [basic];
  const names = der(0x30, ...hosts.map((host) => der(0x82, Buffer.from(host))));
  return [basic, der(0x30, hex(SUBJECT_ALT_NAME), der(0x04, names))];
}

function name(commonName: string): Buffer {
  return der(0x30, der(0x31, der(0x30, hex(COMMON_NAME), der(0x0c, Buffer.from(commonName)))));
}

/** UTCTime before 2050, GeneralizedTime from then on, as RFC 5280 §4.1.2.5 has it. */
function time(date: Date): Buffer {
  const digits = date.toISOString().replace(/\.\d+/, '').replace(/[-:T]/g, '');
  return date.getUTCFullYear() < 2050 ? der(0x17, Buffer.from(digits.slice(2))) : der(0x18, Buffer.from(digits));
}

function der(tag: number, ...parts: Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([Buffer.of(tag), length(content.length), content]);
}

function length(size: number): Buffer {
  if (size < 128) return Buffer.of(size);
  return size < 256 ? Buffer.of(0x81, size) : Buffer.of(0x82, size >> 8, size & 255);
}

function hex(text: string): Buffer {
  return Buffer.from(text, 'hex');
}

function pem(bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
