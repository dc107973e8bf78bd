// What a test can switch on a FakeProvider: faults, tampering, forgeries, and steps in between.
import type { MixUp } from './core.js';
import type { Fault, FaultHandle, FaultTiming } from './faults.js';
import type { ForgeTarget, Forgery } from './forgery.js';
import type { Hold, Interposition } from './gates.js';
import { ProviderRecords } from './records.js';
import type { Endpoint } from './request-log.js';
import type { Tampers, TamperTarget } from './tampering.js';

/** The switches of a provider. */
export class ProviderControls extends ProviderRecords {
  /** Switches a fault on, by default until it is cleared. Faults of one endpoint strike in the order they were given. */
  fault(endpoint: Endpoint, fault: Fault & FaultTiming): FaultHandle {
    return this.core.faults.add(endpoint, fault);
  }

  /** Switches all faults off, or those of one endpoint. */
  clearFaults(endpoint?: Endpoint): void {
    this.core.faults.clear(endpoint);
  }

  /** Bends honest answers, by default every time; call the function returned to stop. */
  tamper<T extends TamperTarget>(target: T, change: Tampers[T], options: { times?: number } = {}): () => void {
    return this.core.tampers.add(target, change, options.times);
  }

  /** Stops all tampering, or that with one target. */
  clearTampering(target?: TamperTarget): void {
    this.core.tampers.clear(target);
  }

  /** Forges signatures, by default every time; call the function returned to stop. */
  forge(target: ForgeTarget, forgery: Forgery, options: { times?: number } = {}): () => void {
    return this.core.forgeries.add(target, forgery, options.times);
  }

  /** Stops all forging, or that of one kind of token. */
  clearForgeries(target?: ForgeTarget): void {
    this.core.forgeries.clear(target);
  }

  /** Does something before or after requests are processed; call the function returned to stop. */
  interpose(endpoint: Endpoint, what: Interposition): () => void {
    return this.core.gates.add(endpoint, what);
  }

  /** Holds the requests of an endpoint back, by default after processing, until released. */
  hold(endpoint: Endpoint, at: 'before' | 'after' = 'after'): Hold {
    return this.core.gates.hold(endpoint, at);
  }

  /** Sends authorization requests on to another provider with the same state, as a mix-up attacker does. */
  mixUp(other: MixUp | undefined): void {
    this.core.mixUp = other;
  }
}
