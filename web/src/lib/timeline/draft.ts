import type { Item, Timeline } from './items';

/** A timeline that is being built from a batch; `done` makes it a value again. */
export type Draft = Omit<Timeline, 'items' | 'open'> & {
  items: Item[];
  open: Map<string, number>;
};

export function draftOf(timeline: Timeline): Draft {
  return { ...timeline, items: [...timeline.items], open: new Map(timeline.open) };
}

/** Adds an item that will not change any more. */
export function add(draft: Draft, item: Item): void {
  draft.items.push(item);
}

/** Adds an item that later events complete, under `key`. */
export function begin(draft: Draft, key: string, item: Item): void {
  draft.open.set(key, draft.items.length);
  draft.items.push(item);
}

/** Replaces the open item under `key`, if it is there and of this type. */
export function update<T extends Item['type']>(
  draft: Draft,
  key: string,
  type: T,
  change: (item: Extract<Item, { type: T }>) => Item,
): boolean {
  const at = draft.open.get(key);
  const item = at === undefined ? undefined : draft.items[at];
  if (at === undefined || item?.type !== type) return false;
  draft.items[at] = change(item as Extract<Item, { type: T }>);
  return true;
}

/** As `update`, for the last change. */
export function finish<T extends Item['type']>(
  draft: Draft,
  key: string,
  type: T,
  change: (item: Extract<Item, { type: T }>) => Item,
): boolean {
  const found = update(draft, key, type, change);
  draft.open.delete(key);
  return found;
}
