import { expect, test } from 'vitest';
import { fold } from './fold';
import { PAGE_ROWS, paginate } from './pages';

test('a short list stays whole, and a long one keeps both ends', () => {
  const lines = Array.from({ length: 20 }, (_, n) => n);
  expect(fold(lines.slice(0, 8))).toEqual({ head: lines.slice(0, 8), hidden: 0, tail: [] });
  expect(fold(lines)).toEqual({ head: [0, 1, 2], hidden: 14, tail: [17, 18, 19] });
});

test('a page without changes stays the same array', () => {
  const one = () => 1;
  const items = Array.from({ length: PAGE_ROWS * 2 + 1 }, (_, id) => ({ id }));
  const before = paginate(items, [], one);
  expect(before.flat()).toEqual(items);
  const after = paginate([...items, { id: -1 }], before, one);
  expect(after[0]).toBe(before[0]);
  expect(after[1]).toBe(before[1]);
  expect(after[2]).not.toBe(before[2]);
});

test('a page contains fewer items if they are higher', () => {
  const items = Array.from({ length: 20 }, (_, id) => ({ id, rows: 7 }));
  const pages = paginate(items, [], (item) => item.rows);
  expect(pages.map((page) => page.length)).toEqual([6, 6, 6, 2]);
});
