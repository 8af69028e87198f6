import type { Timeline } from './items';

/** A question that an agent has not answered, and may not. */
export type Unanswered = { text: string; running: boolean };

/**
 * The last question, where its turn failed or broke off, or runs while the model is not reached:
 * another agent may be asked it.
 */
export function unanswered(timeline: Timeline): Unanswered | undefined {
  const { items, turn, closedAt } = timeline;
  const at = items.findLastIndex((item) => item.type === 'prompt');
  const prompt = items[at];
  if (prompt?.type !== 'prompt' || closedAt !== undefined) return undefined;
  const since = items.slice(at + 1);
  const unreached = since.findLastIndex(
    (item) => item.type === 'note' && item.code === 'model_unreachable',
  );
  const heard = since
    .slice(unreached + 1)
    .some((item) => item.type === 'text' || item.type === 'tool');
  const ended = since.findLast((item) => item.type === 'turn-end');
  const failed = ended?.outcome === 'failed' || ended?.outcome === 'interrupted';
  const waits = turn !== undefined && unreached >= 0 && !heard && !timeline.typing;
  return failed || waits ? { text: prompt.text, running: turn !== undefined } : undefined;
}
