// A family of cases: how its inputs are drawn, and what is done with one. Which share of all cases it gets, as well.
import fc from 'fast-check';
import type { Target } from './target.js';

/** See {@link family}. */
export interface Family {
  readonly name: string;
  /** Part of all cases, 0 to 1. */
  readonly share: number;
  /** The property for one target. */
  property(at: Target): fc.IAsyncProperty<[unknown]>;
}

/** Defines a family; `run` throws what it finds. */
export function family<Input>(definition: {
  name: string;
  share: number;
  input: fc.Arbitrary<Input>;
  run: (at: Target, input: Input) => Promise<void>;
}): Family {
  const { name, share, input, run } = definition;
  return {
    name,
    share,
    property: (at) =>
      fc.asyncProperty(input, async (drawn) => {
        at.refresh();
        await run(at, drawn);
      }),
  };
}
