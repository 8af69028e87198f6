import type { CheckState } from './api/CheckState';
import type { Readiness } from './api/Readiness';

/** How a check stands, as a word that follows its name. */
export const WORDS: Record<CheckState, string> = {
  red: 'fails',
  amber: 'wants attention',
  green: 'holds',
};

/** How many are red, and how many amber. */
export type Tally = { red: number; amber: number };

/** A check's name for people: `guest · no other guest`. */
export const nameOfCheck = (name: string) => name.replaceAll('.', ' · ').replaceAll('_', ' ');

/** How many checks are not green, and were tried. Vital signs have a place of their own. */
export function tally(readiness: Readiness, withVitals: boolean): Tally {
  const tried = Object.entries(readiness.checks).filter(
    ([id, link]) => !link.untried && (withVitals || !/\.(ssh|vm)$/.test(id)),
  );
  const count = (state: CheckState) => tried.filter(([, link]) => link.state === state).length;
  return { red: count('red'), amber: count('amber') };
}
