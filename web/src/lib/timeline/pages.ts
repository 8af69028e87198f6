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
