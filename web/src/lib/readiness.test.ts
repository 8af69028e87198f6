import { expect, test } from 'vitest';
import type { CheckState } from './api/CheckState';
import { tally } from './readiness';
import { examined, groups, summary } from './readiness-list';

const link = (state: CheckState) => ({
  ok: state !== 'red',
  state,
  message: 'Seen.',
  at: '2026-11-25T03:00:00.000Z',
});

const readiness = {
  ready: false,
  checks: {
    'agent.model': link('amber'),
    'devvm.guest.no_other_guest': link('red'),
    'devvm.guest.reach': link('green'),
    'devvm.vm': link('red'),
    'other.host.gate': link('green'),
    'devvm.guest.sudo': { ...link('amber'), untried: true },
    store: link('green'),
  },
};

test('checks stand with their target, the worst first', () => {
  const shown = groups(readiness).map((g) => [g.title, ...g.checks.map((check) => check.name)]);
  expect(shown).toEqual([
    ['devvm', 'guest · no other guest', 'vm', 'guest · sudo', 'guest · reach'],
    ['This server', 'agent · model', 'store'],
    ['other', 'host · gate'],
  ]);
});

test('vital signs count on the page of readiness and not beside the strip that shows them', () => {
  expect(tally(readiness, true)).toEqual({ red: 2, amber: 1 });
  expect(tally(readiness, false)).toEqual({ red: 1, amber: 1 });
  expect(summary(readiness)).toBe('2 fail, 1 wants attention, 3 hold');
});

test('before the first examination there is no check of the record', () => {
  expect(examined(readiness)).toBe(false);
  expect(examined({ ready: true, checks: { record: link('green') } })).toBe(true);
});
