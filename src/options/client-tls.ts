// TLS towards one provider: the certificate that this application shows (RFC 8705), and the authorities it believes.
import { isCertificate, keyPairFault } from '../crypto/certificate.js';
import { Redacted } from '../crypto/redacted.js';
import type { Problems } from './problems.js';

/** TLS towards a provider. All of it is PEM text. */
export interface ProviderTlsOptions {
  /** The certificate that this application shows, for `tls_client_auth` and certificate-bound tokens; intermediates may follow it. */
  cert?: string;
  /** The private key of `cert`. */
  key?: string;
  /** Opens `key`, where it is encrypted. */
  passphrase?: string;
  /** Authorities that the provider's certificate may come from, instead of those that Node knows. */
  ca?: string | readonly string[];
}

/** The options as checked. Shows nothing when printed. */
export class ClientTls extends Redacted implements ProviderTlsOptions {
  readonly cert?: string;
  readonly key?: string;
  readonly passphrase?: string;
  readonly ca?: readonly string[];
  #withoutCertificate?: ClientTls;

  constructor({ ca, ...fields }: ProviderTlsOptions) {
    super();
    Object.assign(this, fields, ca === undefined ? {} : { ca: Object.freeze([ca].flat()) });
    Object.freeze(this);
  }

  /** The same authorities, and no certificate of our own: for a server that must not learn who we are. Always the same object. */
  get withoutCertificate(): ClientTls {
    this.#withoutCertificate ??= new ClientTls(this.ca === undefined ? {} : { ca: this.ca });
    return this.#withoutCertificate;
  }
}

/** Checks the options; undefined without any. */
export function resolveTls(given: ProviderTlsOptions | undefined, problems: Problems): ClientTls | undefined {
  if (given === undefined) return undefined;
  const options = problems.object<ProviderTlsOptions>(given, ['cert', 'key', 'passphrase', 'ca']);
  const { cert, key, passphrase } = options;
  for (const name of ['cert', 'key', 'passphrase'] as const)
    if (options[name] !== undefined) problems.at(name).text(options[name], true);
  if ((cert === undefined) !== (key === undefined)) problems.add('cert and key belong together: give both');
  if (typeof cert === 'string' && typeof key === 'string') {
    const fault = keyPairFault(cert, key, passphrase);
    if (fault) problems.add(fault);
  }
  const authorities: readonly unknown[] = options.ca === undefined ? [] : [options.ca].flat();
  if (!authorities.every((pem) => typeof pem === 'string' && isCertificate(pem)))
    problems.at('ca').add('must be certificates in PEM');
  if (cert === undefined && key === undefined && options.ca === undefined)
    problems.add('is empty; give cert and key, ca, or all three');
  return new ClientTls(options);
}
