// The pushed authorization request endpoint (RFC 9126).
import { json, ProtocolError, type Answer } from './answer.js';
import type { FakeClient } from './behaviour.js';
import type { ProviderCore } from './core.js';
import { openRequestObject, type PushedRequests } from './request-object.js';
import type { LoggedRequest } from './request-log.js';

/** Keeps the request and answers with its `request_uri`. @throws ProtocolError. */
export async function parEndpoint(
  core: ProviderCore,
  pushed: PushedRequests,
  request: LoggedRequest,
  client: FakeClient,
  jkt: string | undefined,
): Promise<Answer> {
  if (request.form.has('request_uri')) throw new ProtocolError('invalid_request', 'request_uri in a pushed request');
  const params = await openRequestObject(core, client, request.form);
  const clientId = params.get('client_id');
  if (clientId !== null && clientId !== client.clientId)
    throw new ProtocolError('invalid_request', 'client_id differs');
  const bound = params.get('dpop_jkt') ?? undefined;
  if (bound !== undefined && jkt !== undefined && bound !== jkt) {
    throw new ProtocolError('invalid_dpop_proof', 'dpop_jkt is not the key of the proof');
  }
  const kept = new URLSearchParams(params);
  for (const secret of ['client_secret', 'client_assertion', 'client_assertion_type']) kept.delete(secret);
  const uri = pushed.add(kept, client.clientId, core.behaviour.parLifetime, jkt);
  const body = { request_uri: uri, expires_in: core.behaviour.parLifetime };
  return json(core.tampers.apply('parResponse', body, { request, clientId: client.clientId }), 201);
}
