import { PARTS_SHOWN, type Item } from './items';

/** How many rows are mounted or left out together; an item is never cut. */
export const PAGE_ROWS = 40;

/** About how many rows an item takes: its own, and one for each part that shows under it. */
export function rowsOf(item: Item): number {
  if (item.type !== 'tool') return 1;
  return 1 + Math.min(PARTS_SHOWN.head + PARTS_SHOWN.tail, item.parts.length);
}

/**
 * Cuts the items into pages. A page whose items are the same as before is the same array, so
 * that nothing below it has to look again.
 */
export function paginate<T>(
  items: readonly T[],
  before: readonly (readonly T[])[],
  rows: (item: T) => number,
): (readonly T[])[] {
  const pages: (readonly T[])[] = [];
  let start = 0;
  let filled = 0;
  for (const [at, item] of items.entries()) {
    filled += rows(item);
    if (filled < PAGE_ROWS && at < items.length - 1) continue;
    const page = items.slice(start, at + 1);
    const old = before[pages.length];
    const same = old?.length === page.length && old.every((item, at) => item === page[at]);
    pages.push(same && old ? old : page);
    start = at + 1;
    filled = 0;
  }
  return pages;
}
