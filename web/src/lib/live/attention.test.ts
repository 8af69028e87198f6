import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { attend, GRACE_MS } from './attention';

let page: EventTarget & { hidden: boolean };
let told: string[];
let end: () => void;

const begin = () => {
  end = attend({
    away: () => told.push('away'),
    back: () => told.push('back'),
    focused: () => told.push('focused'),
  });
};
const hide = (hidden: boolean) => {
  page.hidden = hidden;
  page.dispatchEvent(new Event('visibilitychange'));
};

beforeEach(() => {
  vi.useFakeTimers();
  told = [];
  page = Object.assign(new EventTarget(), { hidden: false });
  vi.stubGlobal('document', page);
  vi.stubGlobal('window', new EventTarget());
});
afterEach(() => {
  end();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('a hidden page is away after a moment, and a glance elsewhere changes nothing', () => {
  begin();
  hide(true);
  vi.advanceTimersByTime(GRACE_MS - 1);
  hide(false);
  vi.advanceTimersByTime(60_000);
  expect(told).toEqual(['back']);
  hide(true);
  vi.advanceTimersByTime(GRACE_MS);
  expect(told).toEqual(['back', 'away']);
});

test('a page that is opened behind others, frozen or kept for the back button is away at once', () => {
  page.hidden = true;
  begin();
  expect(told).toEqual(['away']);
  hide(false);
  page.dispatchEvent(new Event('freeze'));
  page.dispatchEvent(new Event('resume'));
  window.dispatchEvent(new Event('pagehide'));
  window.dispatchEvent(new Event('pageshow'));
  expect(told).toEqual(['away', 'back', 'away', 'back', 'away', 'back']);
});

test('a machine that slept has its page look at the line', () => {
  begin();
  vi.advanceTimersByTime(60_000);
  expect(told).toEqual([]);
  vi.setSystemTime(Date.now() + 3_600_000);
  vi.advanceTimersByTime(2_000);
  expect(told).toEqual(['back']);
});

test('nothing is told after its end', () => {
  begin();
  hide(true);
  end();
  vi.advanceTimersByTime(60_000);
  hide(false);
  window.dispatchEvent(new Event('focus'));
  expect(told).toEqual([]);
});
