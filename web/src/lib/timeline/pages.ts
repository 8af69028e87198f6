import { RUNS_SHOWN, type Item } from './items';

/** How many items are mounted or left out together. */
export const PAGE_SIZE = 40;

/**
 * Cuts the items into pages. A page whose items are the same as before is the same array, so
 * that nothing below it has to look again.
 */
export function paginate<T>(
  items: readonly T[],
  before: readonly (readonly T[])[],
): (readonly T[])[] {
  const pages: (readonly T[])[] = [];
  for (let start = 0; start < items.length; start += PAGE_SIZE) {
    const page = items.slice(start, start + PAGE_SIZE);
    const old = before[pages.length];
    const same = old?.length === page.length && old.every((item, at) => item === page[at]);
    pages.push(same && old ? old : page);
  }
  return pages;
}

/** About how many rows items take: one each, and one for each command that is shown under them. */
export function rowsOf(items: readonly Item[]): number {
  const most = RUNS_SHOWN.head + RUNS_SHOWN.tail;
  const under = (item: Item) => (item.type === 'tool' ? Math.min(most, item.commands.length) : 0);
  return items.reduce((rows, item) => rows + 1 + under(item), 0);
}
