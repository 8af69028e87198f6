import { expect, test } from 'vitest';
import type { CheckState } from './api/CheckState';
import { tally } from './readiness';
import { isComplete, groups, summary } from './readiness-groups';

const check = (state: CheckState) => ({
  ok: state !== 'red',
  state,
  message: 'Seen.',
  at: '2026-11-25T03:00:00.000Z',
});

const readiness = {
  ready: false,
  checks: {
    'agent.model': check('amber'),
    'devvm.guest.no_other_guest': check('red'),
    'devvm.guest.reach': check('green'),
    'devvm.vm': check('red'),
    'other.host.gate': check('green'),
    'devvm.guest.sudo': { ...check('amber'), untried: true },
    store: check('green'),
  },
};

test('checks are grouped by target, the worst first', () => {
  const shown = groups(readiness).map((g) => [g.title, ...g.checks.map((one) => one.name)]);
  expect(shown).toEqual([
    ['devvm', 'guest · no other guest', 'vm', 'guest · sudo', 'guest · reach'],
    ['This server', 'agent · model', 'store'],
    ['other', 'host · gate'],
  ]);
});

test('vital signs count on the readiness page but not in the menu badge', () => {
  expect(tally(readiness, true)).toEqual({ red: 2, amber: 1 });
  expect(tally(readiness, false)).toEqual({ red: 1, amber: 1 });
  expect(summary(readiness)).toBe('2 fail, 1 needs attention, 3 pass');
});

test('readiness is complete once the check of the log ran', () => {
  expect(isComplete(readiness)).toBe(false);
  expect(isComplete({ ready: true, checks: { record: check('green') } })).toBe(true);
});
