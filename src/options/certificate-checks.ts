// Whether Node checks certificates at all: an environment variable can switch it off for the whole process.

/**
 * What to tell the operator when certificates are not checked, or undefined when they are.
 * @see RFC 6749 §10.9
 */
export function uncheckedCertificates(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): string | undefined {
  if (environment.NODE_TLS_REJECT_UNAUTHORIZED !== '0') return undefined;
  return 'NODE_TLS_REJECT_UNAUTHORIZED=0: certificates are NOT checked, so anybody on the network can read and forge what providers and Postgres say. Unset it, and use NODE_EXTRA_CA_CERTS for a private authority';
}
