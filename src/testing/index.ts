// What `nest-oauth-client/testing` offers: a provider that behaves, and misbehaves on demand.
export { FakeProvider, type FakeProviderOptions } from './fake-provider.js';
export type {
  ClientAuthMethod,
  FakeBehaviour,
  FakeClient,
  FakeUser,
  JsonObject,
  NonceMode,
  SigningAlgorithm,
} from './behaviour.js';
export { makeCertificate, type CertificateOptions, type FakeCertificate } from './certificate.js';
export type { FakeEndSession, FakeLogin, FakeRevocation, MixUp } from './core.js';
export type { Carried, Fault, FaultHandle, FaultKind, FaultTiming } from './faults.js';
export type { ForgeTarget, Forgery } from './forgery.js';
export type { Hold, Interposition } from './gates.js';
export type { FakeTls } from './listener.js';
export { LOGOUT_EVENT, type LogoutAnswer, type LogoutTokenOptions } from './logout.js';
export type { Endpoint, LoggedClientAuth, LoggedDpop, LoggedRequest } from './request-log.js';
export type { DecoyKind } from './signing-keys.js';
export type { TamperContext, Tampers, TamperTarget } from './tampering.js';
export type { FakeCounters, IssuedSecret } from './token-store.js';
