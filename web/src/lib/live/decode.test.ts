import { expect, test } from 'vitest';
import { decode, Gap, inOrder, type Arrival } from './decode';

const event = (seq: number) =>
  decode({ id: String(seq), event: 'incident_closed', data: JSON.stringify({ seq }) }) as Arrival;

test('a message becomes an event, a frame or the mark at the end of the replay', () => {
  expect(event(3)).toMatchObject({ type: 'event', event: { seq: 3 } });
  expect(decode({ event: 'text_delta', data: '{"frame":"text_delta"}' })).toMatchObject({
    type: 'frame',
  });
  expect(decode({ event: 'caught-up', data: '{"seq":9}' })).toEqual({ type: 'caught-up', seq: 9 });
});

test('an unknown message is skipped', () => {
  expect(decode({ event: 'message', data: 'no json' })).toBeUndefined();
  expect(decode({ event: 'message', data: '[1]' })).toBeUndefined();
  expect(decode({ event: 'later', data: '{}' })).toBeUndefined();
});

test('events that were received before are dropped', () => {
  const { fresh, last } = inOrder([event(1), event(2), event(3)], 2);
  expect(fresh).toEqual([event(3)]);
  expect(last).toBe(3);
});

test('a skipped number throws a gap', () => {
  expect(() => inOrder([event(4)], 2)).toThrow(Gap);
});
