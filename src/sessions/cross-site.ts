// Which requests from other origins a guarded handler takes: none, but for what the configuration names exactly. Our own
// routes never ask here; no exemption covers them.
import type { ResolvedOptions } from '../options/resolve-options.js';
import type { WebRequest } from './web-request.js';

/**
 * True when a request that changes something, or a WebSocket handshake, comes from another origin and is not exempt.
 * @param given.handshake a handshake names no handler, so only its origin can be exempt
 */
export function isRefusedForeign(
  request: WebRequest,
  { origin, csrf }: Pick<ResolvedOptions, 'origin' | 'csrf'>,
  given: { handshake: boolean },
): boolean {
  if (!request.isForeign(origin)) return false;
  const from = request.header('origin');
  if (from !== undefined && csrf.exemptOrigins.has(from)) return false;
  // Character by character: what a router takes for the same path (another case, a trailing slash) is not exempt.
  return given.handshake || !csrf.exemptPaths.has(request.target.split('?', 1)[0]!);
}
