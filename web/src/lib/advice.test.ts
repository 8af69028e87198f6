import { expect, test } from 'vitest';
import { advise } from './advice';
import type { Vital } from './api/Vital';
import type { VitalState } from './api/VitalState';

const vital = (state: VitalState): Vital => ({ state, text: '', since: '', seen: '' });
const vitals = (ssh: VitalState, vm: VitalState) => ({
  target: 'devvm',
  ssh: vital(ssh),
  vm: vital(vm),
});

test('a guest that answers needs no advice', () => {
  expect(advise(vitals('good', 'good'), undefined)).toBeUndefined();
  expect(advise(undefined, undefined)).toBeUndefined();
});

test('the advice follows from what is dead', () => {
  expect(advise(vitals('dead', 'dead'), undefined)?.recommend).toBe('start');
  expect(advise(vitals('dead', 'good'), undefined)?.recommend).toBe('cycle');
  expect(advise(vitals('dead', 'unknown'), undefined)?.recommend).toBeUndefined();
  expect(advise(vitals('slow', 'good'), undefined)?.recommend).toBeUndefined();
});

test('what the signs say together comes before what a check found earlier', () => {
  const finding = { signature: 'vm-stopped', summary: 'It is off.', evidence: [] };
  expect(advise({ ...vitals('dead', 'dead'), finding }, undefined)?.text).toBe('It is off.');
});
