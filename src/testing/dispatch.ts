// The way of one request through the provider: read, logged, held, spoilt by a fault or answered.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { ProtocolError, refusal, type Answer } from './answer.js';
import type { ProviderCore } from './core.js';
import { playFault, send } from './fault-answers.js';
import { readRequest } from './incoming.js';
import { peerOf } from './listener.js';
import type { LoggedRequest } from './request-log.js';
import type { Router } from './router.js';

/** Answers requests for one provider until it closes. */
export class Dispatcher {
  /** Failures of the provider itself, which were answered with 500. */
  readonly internalErrors: unknown[] = [];
  private closing = new AbortController();
  private inFlight = 0;
  private waiting: (() => void)[] = [];

  constructor(
    private readonly core: ProviderCore,
    private readonly router: Router,
  ) {}

  /** Request listener of the servers. */
  readonly handle = (message: IncomingMessage, response: ServerResponse): void => {
    this.inFlight += 1;
    response.once('close', () => this.leave());
    this.serve(message, response).catch((error: unknown) => {
      // A caller that hung up, or our own closing, is no failure of ours.
      const closing = (error as Error | undefined)?.name === 'AbortError';
      // (A message that was read to its end is destroyed by Node; who hung up before has sent an incomplete one.)
      if (!response.destroyed && message.complete && !closing) this.breakDown(response, error);
    });
  };

  /** Resolves once no request is being answered. */
  async idle(): Promise<void> {
    if (this.inFlight > 0) await new Promise<void>((resolve) => this.waiting.push(resolve));
  }

  /** Ends all waiting. */
  stop(): void {
    this.closing.abort();
    this.closing = new AbortController();
  }

  private leave(): void {
    this.inFlight -= 1;
    if (this.inFlight === 0) for (const resolve of this.waiting.splice(0)) resolve();
  }

  private async serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const { core, router } = this;
    const { signal } = this.closing;
    const request = await readRequest(message, router.endpointOf(message.url ?? '/'));
    if (core.behaviour.recordRequests) core.requests.push(request);
    response.once('finish', () => (request.status = response.statusCode));
    response.once('close', () => {
      if (response.headersSent) request.status = response.statusCode;
      if (!response.writableFinished) request.abortedAt = Date.now();
    });
    const steps = core.gates.take(request);
    for (const { before } of steps) await before?.(request);
    const { latency, fault } = core.faults.take(request);
    if (latency > 0) await sleep(latency, undefined, { signal });
    const genuine = async (): Promise<Answer> => {
      const answer = await this.process(message, request);
      for (const { after } of steps) await after?.(request);
      return answer;
    };
    if (!fault) return send(response, await genuine());
    request.fault = fault.kind;
    if (fault.kind === 'oauthError' && request.endpoint === 'authorize') {
      const error = new ProtocolError(fault.error, fault.description ?? fault.error);
      return send(response, await router.refuseAuthorization(request, error));
    }
    return playFault(fault, { response, genuine, trapUrl: core.trapUrl, signal });
  }

  private async process(message: IncomingMessage, request: LoggedRequest): Promise<Answer> {
    const scheme = 'encrypted' in message.socket ? 'https' : 'http';
    const url = `${scheme}://${request.headers.host}${request.path}`;
    try {
      return await this.router.answer(request, url, peerOf(message));
    } catch (error) {
      if (error instanceof ProtocolError) return refusal(error);
      throw error;
    }
  }

  private breakDown(response: ServerResponse, error: unknown): void {
    this.internalErrors.push(error);
    if (response.headersSent) return void response.destroy();
    send(response, {
      status: 500,
      headers: { 'content-type': 'text/plain' },
      body: `FakeProvider broke: ${String(error)}`,
    });
  }
}
