import { expect, test } from 'vitest';
import { advise } from './advice';
import type { Vital } from './api/Vital';
import type { FindingItem } from './timeline/items';

const dead: Vital = { state: 'dead', text: 'no answer', since: '', seen: '' };
const vitals = { target: 'devvm', ssh: dead, vm: dead };
const found = { type: 'finding', check: 'disk', summary: 'It is full.', evidence: [] };

test('a dead sign alone is no advice: the server says when it means something', () => {
  expect(advise(vitals, undefined)).toBeUndefined();
});

test('what the signs say together comes before what a check found earlier', () => {
  const finding = { signature: 'vm-stopped', summary: 'It is off.', evidence: [] };
  const earlier = found as unknown as FindingItem;
  expect(advise({ ...vitals, finding }, earlier)?.text).toBe('It is off.');
  expect(advise(vitals, earlier)?.text).toBe('It is full.');
});
