import type { CheckState } from './api/CheckState';
import type { Readiness } from './api/Readiness';

/** A check's state as a verb: `ssh key fails`. */
export const STATE_TEXT: Record<CheckState, string> = {
  red: 'fails',
  amber: 'needs attention',
  green: 'passes',
};

/** Number of red and of amber checks. */
export type Tally = { red: number; amber: number };

/** A check's id as a readable name: `guest · no other guest`. */
export const nameOfCheck = (id: string) => id.replaceAll('.', ' · ').replaceAll('_', ' ');

/** Counts the checks that ran and are not green; the vital signs only with `withVitals`. */
export function tally(readiness: Readiness, withVitals: boolean): Tally {
  const ran = Object.entries(readiness.checks).filter(
    ([id, check]) => !check.untried && (withVitals || !/\.(ssh|vm)$/.test(id)),
  );
  const count = (state: CheckState) => ran.filter(([, check]) => check.state === state).length;
  return { red: count('red'), amber: count('amber') };
}
