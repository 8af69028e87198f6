import type { CheckState } from './api/CheckState';
import type { Link } from './api/Link';
import type { Readiness } from './api/Readiness';
import { nameOfCheck, tally } from './readiness';

export type Check = Link & { id: string; name: string };

/** The checks of one target, or of the server itself. */
type Group = { title: string; checks: readonly Check[]; worst: CheckState };

const SEVERITY: Record<CheckState, number> = { red: 0, amber: 1, green: 2 };
/** Matches the id of a target's check: a live vital sign (`ssh`, `vm`) or a readiness check. */
const TARGET_CHECK = /^([a-z0-9-]+)\.((?:guest|host)\..+|ssh|vm)$/;
const SERVER = 'This server';

/** All checks by target. Groups, and the checks in each, start with the worst. */
export function groups(readiness: Readiness): Group[] {
  const found = new Map<string, Check[]>();
  for (const [id, check] of Object.entries(readiness.checks)) {
    const [, target, rest] = TARGET_CHECK.exec(id) ?? [];
    const title = target ?? SERVER;
    const named = { ...check, id, name: nameOfCheck(rest ?? id) };
    found.set(title, [...(found.get(title) ?? []), named]);
  }
  const bySeverity = (a: { state: CheckState }, b: { state: CheckState }) =>
    SEVERITY[a.state] - SEVERITY[b.state];
  return [...found]
    .map(([title, checks]) => {
      const sorted = checks.sort((a, b) => bySeverity(a, b) || a.name.localeCompare(b.name));
      return { title, checks: sorted, worst: sorted[0]?.state ?? 'green' };
    })
    .sort(
      (a, b) =>
        SEVERITY[a.worst] - SEVERITY[b.worst] ||
        Number(b.title === SERVER) - Number(a.title === SERVER),
    );
}

/** Whether all checks ran at least once: the check `record` is part of every run. */
export const isComplete = (readiness: Readiness) => 'record' in readiness.checks;

/** `2 fail, 1 needs attention, 24 pass`. */
export function summary(readiness: Readiness): string {
  const { red, amber } = tally(readiness, true);
  const checks = Object.values(readiness.checks);
  const green = checks.filter((check) => check.state === 'green').length;
  const parts = [
    red > 0 && `${red} ${red === 1 ? 'fails' : 'fail'}`,
    amber > 0 && `${amber} ${amber === 1 ? 'needs' : 'need'} attention`,
    `${green} ${green === 1 ? 'passes' : 'pass'}`,
  ];
  return parts.filter(Boolean).join(', ');
}
