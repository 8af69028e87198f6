import { expect, test } from 'vitest';
import { AUTONOMY, isAbove } from './autonomy';

test('levels above the ceiling are excluded, and without a ceiling none is', () => {
  const above = (most: Parameters<typeof isAbove>[1]) =>
    AUTONOMY.filter(({ value }) => isAbove(value, most)).map(({ value }) => value);
  expect(above('approve-mutations')).toEqual(['autonomous']);
  expect(above('read-only')).toEqual(['autonomous', 'approve-mutations']);
  expect(above('autonomous')).toEqual([]);
  expect(above(undefined)).toEqual([]);
});
