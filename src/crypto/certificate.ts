// Certificates and their keys, looked at once, at boot: what does not fit together is found before the first request.
import { createPrivateKey, X509Certificate } from 'node:crypto';

/** Says what is wrong with a client certificate and its private key (both PEM), or undefined. Never quotes either. */
export function keyPairFault(cert: string, key: string, passphrase: string | undefined): string | undefined {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(cert);
  } catch {
    return 'cert is no certificate in PEM';
  }
  try {
    const privateKey = createPrivateKey({ key, format: 'pem', ...(passphrase === undefined ? {} : { passphrase }) });
    return certificate.checkPrivateKey(privateKey) ? undefined : 'key is not the private key of cert';
  } catch {
    return 'key is no private key in PEM, or the passphrase does not open it';
  }
}

/** True for at least one readable certificate in PEM. */
export function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).subject !== undefined;
  } catch {
    return false;
  }
}
