import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { watchPageActivity, HIDDEN_GRACE_MS } from './page-activity';

let page: EventTarget & { hidden: boolean };
let calls: string[];
let stop: () => void;

const start = () => {
  stop = watchPageActivity({
    inactive: () => calls.push('inactive'),
    active: () => calls.push('active'),
    focused: () => calls.push('focused'),
  });
};
const hide = (hidden: boolean) => {
  page.hidden = hidden;
  page.dispatchEvent(new Event('visibilitychange'));
};

beforeEach(() => {
  vi.useFakeTimers();
  calls = [];
  page = Object.assign(new EventTarget(), { hidden: false });
  vi.stubGlobal('document', page);
  vi.stubGlobal('window', new EventTarget());
});
afterEach(() => {
  stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('a page is inactive once it was hidden for longer than the grace period', () => {
  start();
  hide(true);
  vi.advanceTimersByTime(HIDDEN_GRACE_MS - 1);
  hide(false);
  vi.advanceTimersByTime(60_000);
  expect(calls).toEqual(['active']);
  hide(true);
  vi.advanceTimersByTime(HIDDEN_GRACE_MS);
  expect(calls).toEqual(['active', 'inactive']);
});

test('a page that is opened hidden, frozen or cached is inactive at once', () => {
  page.hidden = true;
  start();
  expect(calls).toEqual(['inactive']);
  hide(false);
  page.dispatchEvent(new Event('freeze'));
  page.dispatchEvent(new Event('resume'));
  window.dispatchEvent(new Event('pagehide'));
  window.dispatchEvent(new Event('pageshow'));
  expect(calls).toEqual(['inactive', 'active', 'inactive', 'active', 'inactive', 'active']);
});

test('a page is active after the device slept', () => {
  start();
  vi.advanceTimersByTime(60_000);
  expect(calls).toEqual([]);
  vi.setSystemTime(Date.now() + 3_600_000);
  vi.advanceTimersByTime(2_000);
  expect(calls).toEqual(['active']);
});

test('nothing is reported after the watch has stopped', () => {
  start();
  hide(true);
  stop();
  vi.advanceTimersByTime(60_000);
  hide(false);
  window.dispatchEvent(new Event('focus'));
  expect(calls).toEqual([]);
});
