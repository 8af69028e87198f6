import { expect, test } from 'vitest';
import { AUTONOMY, isAbove } from './autonomy';

test('under a ceiling what is more can’t be chosen, and without one all can', () => {
  const above = (most: Parameters<typeof isAbove>[1]) =>
    AUTONOMY.filter(({ value }) => isAbove(value, most)).map(({ value }) => value);
  expect(above('approve-mutations')).toEqual(['autonomous']);
  expect(above('read-only')).toEqual(['autonomous', 'approve-mutations']);
  expect(above('autonomous')).toEqual([]);
  expect(above(undefined)).toEqual([]);
});
