import { describe, expect, test } from 'vitest';
import type { EventBody } from '../api/EventBody';
import { unansweredPrompt } from './hand-over';
import { all, events as arrivals } from './testing';

const prompt = (turn: number): EventBody => ({ kind: 'prompt', turn, text: `Question ${turn}?` });
const ended = (
  turn: number,
  outcome: 'done' | 'failed' | 'interrupted' | 'stopped',
): EventBody => ({
  kind: 'turn_ended',
  turn,
  outcome,
  duration_ms: 5,
});
const unreachable: EventBody = {
  kind: 'notice',
  level: 'warning',
  code: 'model_unreachable',
  message: 'The model does not answer.',
};
const text: EventBody = { kind: 'text', turn: 1, text: 'Here.' };

describe('the prompt to hand over', () => {
  test.each<[string, EventBody[], { text: string; running: boolean } | undefined]>([
    ['none without a prompt', [], undefined],
    ['none after an answer', [prompt(1), text, ended(1, 'done')], undefined],
    [
      'the last one if its turn failed',
      [prompt(1), ended(1, 'failed')],
      { text: 'Question 1?', running: false },
    ],
    [
      'the last one if its turn was interrupted',
      [prompt(1), text, ended(1, 'interrupted')],
      { text: 'Question 1?', running: false },
    ],
    ['none if an operator stopped the turn', [prompt(1), ended(1, 'stopped')], undefined],
    ['none while the turn runs', [prompt(1)], undefined],
    [
      'the last one while the model is unreachable',
      [prompt(1), unreachable],
      { text: 'Question 1?', running: true },
    ],
    ['none once the model answers again', [prompt(1), unreachable, text], undefined],
    ['none after another prompt', [prompt(1), ended(1, 'failed'), prompt(2)], undefined],
  ])('%s', (_, events, expected) => {
    expect(unansweredPrompt(all(arrivals(...events)))).toEqual(expected);
  });
});
