import type { CheckState } from './api/CheckState';
import type { Link } from './api/Link';
import type { Readiness } from './api/Readiness';

/** How a check stands, as a word that follows its name. */
export const WORDS: Record<CheckState, string> = {
  red: 'fails',
  amber: 'wants attention',
  green: 'holds',
};

/** A check with the words for it. */
export type Check = Link & { id: string; name: string };

/** What belongs to one target, or to the server itself. */
export type Group = { title: string; checks: readonly Check[]; worst: CheckState };

/** How many are red, and how many amber. */
export type Tally = { red: number; amber: number };

const RANK: Record<CheckState, number> = { red: 0, amber: 1, green: 2 };
/** A check of a target: the vital signs, which are as they are now, or what was examined. */
const OF_TARGET = /^([a-z0-9-]+)\.((?:guest|host)\..+|ssh|vm)$/;
const SERVER = 'This server';

/** `guest.no_other_guest` for people. */
const spaced = (name: string) => name.replaceAll('.', ' · ').replaceAll('_', ' ');

/** A check's name for people, with its target. */
export const nameOfCheck = spaced;

/** All checks by what they belong to, the worst first in each and of all. */
export function groups(readiness: Readiness): Group[] {
  const found = new Map<string, Check[]>();
  for (const [id, link] of Object.entries(readiness.checks)) {
    const [, target, rest] = OF_TARGET.exec(id) ?? [];
    const title = target ?? SERVER;
    found.set(title, [...(found.get(title) ?? []), { ...link, id, name: spaced(rest ?? id) }]);
  }
  const worse = (a: { state: CheckState }, b: { state: CheckState }) =>
    RANK[a.state] - RANK[b.state];
  return [...found]
    .map(([title, checks]) => {
      const sorted = checks.sort((a, b) => worse(a, b) || a.name.localeCompare(b.name));
      return { title, checks: sorted, worst: sorted[0]?.state ?? 'green' };
    })
    .sort(
      (a, b) =>
        RANK[a.worst] - RANK[b.worst] || Number(b.title === SERVER) - Number(a.title === SERVER),
    );
}

/** How many checks are not green, and were tried. Vital signs have a place of their own. */
export function tally(readiness: Readiness, withVitals: boolean): Tally {
  const tried = Object.entries(readiness.checks).filter(
    ([id, link]) => !link.untried && (withVitals || !/\.(ssh|vm)$/.test(id)),
  );
  const count = (state: CheckState) => tried.filter(([, link]) => link.state === state).length;
  return { red: count('red'), amber: count('amber') };
}

/** Whether everything was tried once: the record's check is of every examination. */
export const examined = (readiness: Readiness) => 'record' in readiness.checks;

/** `2 fail, 1 wants attention, 24 hold`. */
export function summary(readiness: Readiness): string {
  const { red, amber } = tally(readiness, true);
  const links = Object.values(readiness.checks);
  const green = links.filter((link) => link.state === 'green').length;
  const parts = [
    red > 0 && `${red} ${red === 1 ? 'fails' : 'fail'}`,
    amber > 0 && `${amber} ${amber === 1 ? 'wants' : 'want'} attention`,
    `${green} ${green === 1 ? 'holds' : 'hold'}`,
  ];
  return parts.filter(Boolean).join(', ');
}
