// What may happen, in any order: the alphabet of the property tests about grants.
import fc from 'fast-check';

/** Users of one run; the first two have grants of their account, the third one grants of its sessions. */
export const USERS = 3;
/** Applications of one run; the first one carries logins and logouts and is never killed. */
export const APPS = 3;

/** One thing that happens. Numbers choose among what there is at that moment. */
export type Step =
  | {
      readonly do: 'fetch';
      readonly user: number;
      readonly app: number;
      readonly how: 'as stored' | 'expired' | 'forced';
    }
  | { readonly do: 'deliver' | 'lose' | 'refuse'; readonly which: number }
  | { readonly do: 'login' | 'logout'; readonly user: number }
  /** Between reading the first values and writing them, so many steps may pass. */
  | { readonly do: 'rekey'; readonly app: number; readonly lasting: number }
  | { readonly do: 'hiccup'; readonly fate: 'cut' | 'lose-answer' }
  | { readonly do: 'crash'; readonly app: number }
  | { readonly do: 'time passes' };

const user = fc.nat(USERS - 1);
const app = fc.nat(APPS - 1);
const which = fc.nat(7);
const of = <T extends string>(value: T): fc.Arbitrary<T> => fc.constant<T>(value);

/** Any step; waiting answers are delivered more often than anything else happens. */
export const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: of('fetch'),
      user,
      app,
      how: fc.constantFrom('expired', 'expired', 'forced', 'as stored'),
    }),
  },
  { weight: 7, arbitrary: fc.record({ do: of('deliver'), which }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('lose' as const, 'refuse' as const), which }) },
  { weight: 2, arbitrary: fc.record({ do: of('login'), user }) },
  { weight: 3, arbitrary: fc.record({ do: of('logout'), user }) },
  { weight: 3, arbitrary: fc.record({ do: of('rekey'), app, lasting: fc.nat(6) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: of('hiccup'), fate: fc.constantFrom('cut' as const, 'lose-answer' as const) }),
  },
  { weight: 1, arbitrary: fc.record({ do: of('crash'), app: fc.integer({ min: 1, max: APPS - 1 }) }) },
  { weight: 2, arbitrary: fc.record({ do: of('time passes') }) },
);

/** A course of events. */
export const anyPlan: fc.Arbitrary<Step[]> = fc.array(anyStep, { minLength: 10, maxLength: 35, size: 'max' });
