import { describe, expect, test } from 'vitest';
import type { EventBody } from '../api/EventBody';
import { unanswered } from './handover';
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

describe('a question for another agent', () => {
  test.each<[string, EventBody[], { text: string; running: boolean } | undefined]>([
    ['nothing was asked', [], undefined],
    ['it was answered', [prompt(1), text, ended(1, 'done')], undefined],
    ['its turn failed', [prompt(1), ended(1, 'failed')], { text: 'Question 1?', running: false }],
    [
      'it broke off',
      [prompt(1), text, ended(1, 'interrupted')],
      { text: 'Question 1?', running: false },
    ],
    ['a person stopped it', [prompt(1), ended(1, 'stopped')], undefined],
    ['it runs', [prompt(1)], undefined],
    ['the model is not reached', [prompt(1), unreachable], { text: 'Question 1?', running: true }],
    ['the model was reached again', [prompt(1), unreachable, text], undefined],
    ['another one was asked since', [prompt(1), ended(1, 'failed'), prompt(2)], undefined],
  ])('%s', (_, events, expected) => {
    expect(unanswered(all(arrivals(...events)))).toEqual(expected);
  });
});
