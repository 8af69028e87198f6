import type { Timeline } from './items';

/** A prompt that its agent may never answer. `running`: its turn has not ended. */
export type UnansweredPrompt = { text: string; running: boolean };

/**
 * The last prompt, if its turn failed or was interrupted, or runs while its model is unreachable.
 * The operator can hand it over to another agent.
 */
export function unansweredPrompt(timeline: Timeline): UnansweredPrompt | undefined {
  const { items, turn, closedAt } = timeline;
  const index = items.findLastIndex((item) => item.type === 'prompt');
  const prompt = items[index];
  if (prompt?.type !== 'prompt' || closedAt !== undefined) return undefined;
  const since = items.slice(index + 1);
  const unreachable = since.findLastIndex(
    (item) => item.type === 'note' && item.code === 'model_unreachable',
  );
  const answering = since
    .slice(unreachable + 1)
    .some((item) => item.type === 'text' || item.type === 'tool');
  const ended = since.findLast((item) => item.type === 'turn-end');
  const failed = ended?.outcome === 'failed' || ended?.outcome === 'interrupted';
  const waiting = turn !== undefined && unreachable >= 0 && !answering && !timeline.typing;
  return failed || waiting ? { text: prompt.text, running: turn !== undefined } : undefined;
}
