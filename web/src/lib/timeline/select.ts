import { nameOf, span } from '../format';
import { MUTATING } from '../verbs';
import type { ApprovalItem, FindingItem, Item, Timeline, VerbItem } from './items';

/**
 * The runs of verbs that have not ended, oldest first. An unrecorded one does not count: its end
 * comes in no replay, so a page that missed it would wait for ever.
 */
export function runningVerbs(timeline: Timeline): VerbItem[] {
  return [...timeline.open]
    .filter(([key]) => key.startsWith('verb:'))
    .map(([, at]) => timeline.items[at])
    .filter((item): item is VerbItem => item?.type === 'verb' && item.recorded);
}

/** The questions of the agent that nobody has answered, oldest first. */
export function openApprovals(timeline: Timeline): ApprovalItem[] {
  return [...timeline.open]
    .filter(([key]) => key.startsWith('approval:'))
    .flatMap(([key, at]) =>
      questionsOf(timeline.items[at]).filter((q) => !q.decided && key === `approval:${q.approval}`),
    );
}

/** What an item asks: itself, or the parts of a tool call. */
function questionsOf(item: Item | undefined): ApprovalItem[] {
  if (item?.type === 'approval') return [item];
  if (item?.type !== 'tool') return [];
  return item.parts.filter((part) => part.type === 'approval');
}

/** Who asked may have begun to wait a little before the question was written down. */
const EARLY_MS = 5_000;

/** Whether a question is void since nobody answered it in time. */
export function lapsed({ expiresAt, decided }: ApprovalItem): boolean {
  if (expiresAt === undefined || decided?.decision !== 'void' || !decided.at) return false;
  return Date.parse(decided.at) >= Date.parse(expiresAt) - EARLY_MS;
}

/**
 * The questions of the newest turn that nobody answered in time. They are there to be read until
 * the agent is asked something else.
 */
export function lapsedApprovals(timeline: Timeline): ApprovalItem[] {
  const { items } = timeline;
  const from = items.findLastIndex((item) => item.type === 'prompt');
  return items.slice(Math.max(0, from)).flatMap(questionsOf).filter(lapsed);
}

/** How a question was settled, as a sentence; empty while it is open. */
export function settlement(item: ApprovalItem): string {
  const { at, expiresAt, decided } = item;
  if (!decided) return '';
  if (expiresAt !== undefined && lapsed(item)) {
    const limit = Date.parse(expiresAt) - Date.parse(at);
    return `Not run: not answered in ${span(Math.round(limit / 1000) * 1000)}.`;
  }
  if (decided.decision === 'void') return 'Void: it was not run.';
  const word = decided.decision === 'allow' ? 'Allowed' : 'Denied';
  return `${word} by ${nameOf(decided.actor)}.`;
}

/**
 * The last thing that a check found, unless the same check ran again, the machine was powered or
 * the agent worked since: then it speaks of a past state. What the vital signs say is not here: it
 * comes with them and goes with them.
 */
export function currentFinding(timeline: Timeline): FindingItem | undefined {
  const at = timeline.items.findLastIndex(
    (item) => item.type === 'finding' && item.check !== undefined,
  );
  const found = timeline.items[at];
  if (found?.type !== 'finding') return undefined;
  const superseded = timeline.items
    .slice(at + 1)
    .some(
      (item) =>
        item.type === 'turn-end' ||
        (item.type === 'check' && item.check === found.check) ||
        (item.type === 'verb' && MUTATING.has(item.verb) && item.ended?.outcome === 'done'),
    );
  return superseded ? undefined : found;
}

/** Whether the record does not hold what happens now; it may have, and may again. */
export function degraded(items: readonly Item[]): boolean {
  const restored = items.findLastIndex(
    (item) => item.type === 'note' && item.code === 'record_restored',
  );
  return items
    .slice(restored + 1)
    .some((item) => !item.recorded || (item.type === 'note' && item.code === 'record_degraded'));
}

/** The last thing that ended or went wrong, as a sentence for those who listen to the page. */
export function announcement(items: readonly Item[]): string {
  const last = items.findLast(
    (item) =>
      (item.type === 'verb' && item.ended !== undefined) ||
      item.type === 'turn-end' ||
      questionsOf(item).some((question) => question.decided) ||
      (item.type === 'note' && (item.level !== 'info' || item.code === 'cut_off_changed')),
  );
  if (last?.type === 'verb') return last.ended?.message ?? '';
  if (last?.type === 'note') return last.text;
  const question = questionsOf(last).findLast((q) => q.decided);
  if (question) return settlement(question);
  return last?.type === 'turn-end' ? `The agent's turn is over: ${last.outcome}.` : '';
}

const GROUP_MS = 30_000;

/** Whether an item needs its own time and name: its neighbour above is another's, or older. */
export function startsGroup(above: Item | undefined, item: Item): boolean {
  if (!above || above.type === 'turn-end' || !item.recorded) return true;
  return above.actor !== item.actor || Date.parse(item.at) - Date.parse(above.at) > GROUP_MS;
}

/** Where a command would run, for the middle of a sentence. */
export const placeOf = ({ place }: ApprovalItem) =>
  place === 'cell' ? 'in its own cell' : `on ${place}`;
