import { expect, test } from 'vitest';
import type { Vital } from './api/Vital';
import { activeFinding } from './finding';
import type { FindingItem } from './timeline/items';

const dead: Vital = { state: 'dead', text: 'no answer', since: '', seen: '' };
const vitals = { target: 'devvm', ssh: dead, vm: dead };
const diagnosed = { type: 'finding', check: 'disk', summary: 'It is full.', evidence: [] };

test('a dead vital sign alone is no finding, because the server decides', () => {
  expect(activeFinding(vitals, undefined)).toBeUndefined();
});

test('a finding from vital signs comes before one from an earlier diagnosis', () => {
  const finding = { signature: 'vm-stopped', summary: 'It is off.', evidence: [] };
  const earlier = diagnosed as unknown as FindingItem;
  expect(activeFinding({ ...vitals, finding }, earlier)?.summary).toBe('It is off.');
  expect(activeFinding(vitals, earlier)?.summary).toBe('It is full.');
});
