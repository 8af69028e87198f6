import { expect, test } from 'vitest';
import { bytes, count, nameOf, remaining, span, took } from './format';
import { newKey } from './http/key';

test('durations use a suitable unit', () => {
  const minute = 60_000;
  expect([0, 59_999, minute, 65 * minute, 120 * minute, 49 * 60 * minute].map(span)).toEqual([
    '0 s',
    '59 s',
    '1 min',
    '1 h 5 min',
    '2 h',
    '2 d',
  ]);
  expect([12, 2_140, 61_000].map(took)).toEqual(['12 ms', '2.1 s', '1 min']);
});

test('sizes, counts and names are formatted', () => {
  expect([512, 3_400, 5_000_000].map(bytes)).toEqual(['512 B', '3.4 kB', '5.0 MB']);
  expect([count(1, 'line'), count(1200, 'line')]).toEqual(['1 line', '1,200 lines']);
  expect([nameOf('operator:mia'), nameOf('agent')]).toEqual(['mia', 'agent']);
});

test('keys are unique UUIDs', () => {
  expect(newKey()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(newKey()).not.toBe(newKey());
});

test('the time left is given to the second', () => {
  expect([121_000, 120_000, 60_000, 59_001, 1, 0, -5].map(remaining)).toEqual([
    '2 min 1 s',
    '2 min 0 s',
    '1 min 0 s',
    '1 min 0 s',
    '1 s',
    '0 s',
    '0 s',
  ]);
});
