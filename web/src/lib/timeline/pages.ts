import { PARTS_SHOWN, type Item } from './items';

/** Minimum number of rows in a page: they are mounted together. An item is never split. */
export const PAGE_ROWS = 40;

/** Approximate number of rows of an item: its own, and one for each part shown below it. */
export function rowsOf(item: Item): number {
  if (item.type !== 'tool') return 1;
  return 1 + Math.min(PARTS_SHOWN.head + PARTS_SHOWN.tail, item.parts.length);
}

/**
 * Splits the items into pages. A page whose items did not change stays the same array as in
 * `before`, so that Svelte does not render it again.
 */
export function paginate<T>(
  items: readonly T[],
  before: readonly (readonly T[])[],
  rows: (item: T) => number,
): (readonly T[])[] {
  const pages: (readonly T[])[] = [];
  let start = 0;
  let filled = 0;
  for (const [index, item] of items.entries()) {
    filled += rows(item);
    if (filled < PAGE_ROWS && index < items.length - 1) continue;
    const page = items.slice(start, index + 1);
    const old = before[pages.length];
    const same = old?.length === page.length && old.every((item, index) => item === page[index]);
    pages.push(same && old ? old : page);
    start = index + 1;
    filled = 0;
  }
  return pages;
}
