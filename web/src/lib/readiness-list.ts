import type { CheckState } from './api/CheckState';
import type { Link } from './api/Link';
import type { Readiness } from './api/Readiness';
import { nameOfCheck, tally } from './readiness';

/** A check with the words for it. */
export type Check = Link & { id: string; name: string };

/** What belongs to one target, or to the server itself. */
export type Group = { title: string; checks: readonly Check[]; worst: CheckState };

const RANK: Record<CheckState, number> = { red: 0, amber: 1, green: 2 };
/** A check of a target: the vital signs, which are as they are now, or what was examined. */
const OF_TARGET = /^([a-z0-9-]+)\.((?:guest|host)\..+|ssh|vm)$/;
const SERVER = 'This server';

/** All checks by what they belong to, the worst first in each and of all. */
export function groups(readiness: Readiness): Group[] {
  const found = new Map<string, Check[]>();
  for (const [id, link] of Object.entries(readiness.checks)) {
    const [, target, rest] = OF_TARGET.exec(id) ?? [];
    const title = target ?? SERVER;
    found.set(title, [...(found.get(title) ?? []), { ...link, id, name: nameOfCheck(rest ?? id) }]);
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
