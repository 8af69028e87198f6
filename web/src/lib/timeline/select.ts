/*
 * Answers questions about a timeline: which verbs run, which approval requests are open, what to
 * announce. Pure, and without Svelte. Leaves building the timeline to `reduce`.
 */
import { nameOf, span } from '../format';
import { MUTATING } from '../verbs';
import type { ApprovalItem, FindingItem, Item, Timeline, VerbItem } from './items';

/**
 * The running verbs, oldest first. Excludes unrecorded ones: a page that missed their end would
 * wait for ever, because no replay contains it.
 */
export function runningVerbs(timeline: Timeline): VerbItem[] {
  return [...timeline.open]
    .filter(([key]) => key.startsWith('verb:'))
    .map(([, index]) => timeline.items[index])
    .filter((item): item is VerbItem => item?.type === 'verb' && item.recorded);
}

/** The approval requests without a decision, oldest first. */
export function openApprovals(timeline: Timeline): ApprovalItem[] {
  return [...timeline.open]
    .filter(([key]) => key.startsWith('approval:'))
    .flatMap(([key, index]) =>
      approvalsOf(timeline.items[index]).filter(
        (a) => !a.decided && key === `approval:${a.approval}`,
      ),
    );
}

/** The approval requests of an item: itself, or parts of a tool call. */
function approvalsOf(item: Item | undefined): ApprovalItem[] {
  if (item?.type === 'approval') return [item];
  if (item?.type !== 'tool') return [];
  return item.parts.filter((part) => part.type === 'approval');
}

/** The time limit starts a little before the log records the request. */
const EXPIRY_TOLERANCE_MS = 5_000;

/** Whether a request is void because no one decided in time. */
function isExpired({ expiresAt, decided }: ApprovalItem): boolean {
  if (expiresAt === undefined || decided?.decision !== 'void' || !decided.at) return false;
  return Date.parse(decided.at) >= Date.parse(expiresAt) - EXPIRY_TOLERANCE_MS;
}

/** The expired requests since the last prompt. */
export function expiredApprovals(timeline: Timeline): ApprovalItem[] {
  const { items } = timeline;
  const from = items.findLastIndex((item) => item.type === 'prompt');
  return items.slice(Math.max(0, from)).flatMap(approvalsOf).filter(isExpired);
}

/** The outcome of a request as a sentence. Empty while it is open. */
export function outcomeOf(item: ApprovalItem): string {
  const { at, expiresAt, decided } = item;
  if (!decided) return '';
  if (expiresAt !== undefined && isExpired(item)) {
    const limit = Date.parse(expiresAt) - Date.parse(at);
    return `Not run: no decision within ${span(Math.round(limit / 1000) * 1000)}.`;
  }
  if (decided.decision === 'void') return 'Void: not run.';
  const word = decided.decision === 'allow' ? 'Allowed' : 'Denied';
  return `${word} by ${nameOf(decided.actor)}.`;
}

/**
 * The last finding of a diagnosis. Undefined if it may be out of date: the same diagnosis ran
 * again, a mutating verb succeeded or a turn ended since. Findings from vital signs are not here:
 * they come with the vitals.
 */
export function currentFinding(timeline: Timeline): FindingItem | undefined {
  const index = timeline.items.findLastIndex(
    (item) => item.type === 'finding' && item.check !== undefined,
  );
  const found = timeline.items[index];
  if (found?.type !== 'finding') return undefined;
  const superseded = timeline.items
    .slice(index + 1)
    .some(
      (item) =>
        item.type === 'turn-end' ||
        (item.type === 'diagnosis' && item.check === found.check) ||
        (item.type === 'verb' && MUTATING.has(item.verb) && item.ended?.outcome === 'done'),
    );
  return superseded ? undefined : found;
}

/** Whether the log currently fails to record events. */
export function degraded(items: readonly Item[]): boolean {
  const restored = items.findLastIndex(
    (item) => item.type === 'note' && item.code === 'record_restored',
  );
  return items
    .slice(restored + 1)
    .some((item) => !item.recorded || (item.type === 'note' && item.code === 'record_degraded'));
}

/** The last result or problem, as a sentence for screen readers. */
export function announcement(items: readonly Item[]): string {
  const last = items.findLast(
    (item) =>
      (item.type === 'verb' && item.ended !== undefined) ||
      item.type === 'turn-end' ||
      approvalsOf(item).some((approval) => approval.decided) ||
      (item.type === 'note' && (item.level !== 'info' || item.code === 'cut_off_changed')),
  );
  if (last?.type === 'verb') return last.ended?.message ?? '';
  if (last?.type === 'note') return last.text;
  const approval = approvalsOf(last).findLast((a) => a.decided);
  if (approval) return outcomeOf(approval);
  return last?.type === 'turn-end' ? `The agent's turn has ended: ${last.outcome}.` : '';
}

const GROUP_MS = 30_000;

/** Whether an item shows its time and actor: the one above is older or of another actor. */
export function startsGroup(above: Item | undefined, item: Item): boolean {
  if (!above || above.type === 'turn-end' || !item.recorded) return true;
  return above.actor !== item.actor || Date.parse(item.at) - Date.parse(above.at) > GROUP_MS;
}

/** Where a command would run: `on devvm`. */
export const placeOf = ({ place }: ApprovalItem) =>
  place === 'cell' ? 'in its own cell' : `on ${place}`;
