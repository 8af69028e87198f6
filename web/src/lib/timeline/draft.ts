import type { Actor } from '../api/Actor';
import type { EventBody } from '../api/EventBody';
import type { Item, Timeline } from './items';

/** The common fields of an item, from a stored event or from a frame that could not be stored. */
export type Origin = { id: string; at: string; actor: Actor; recorded: boolean };

/** The fields of an event of kind `K`. */
export type BodyOf<K extends EventBody['kind']> = Extract<EventBody, { kind: K }>;

/** A mutable timeline, while a batch is applied to it. */
export type Draft = Omit<Timeline, 'items' | 'open'> & {
  items: Item[];
  open: Map<string, number>;
  /** Lists created in this batch. No reader has them yet, so they may change in place. */
  fresh: WeakSet<object>;
};

export function draftOf(timeline: Timeline): Draft {
  return {
    ...timeline,
    items: [...timeline.items],
    open: new Map(timeline.open),
    fresh: new WeakSet(),
  };
}

/** The immutable timeline. */
export function finishDraft({ fresh: _, ...timeline }: Draft): Timeline {
  return timeline;
}

/** A list that may change in place: `list` if it is fresh, else a copy. */
export function writable<T>(draft: Draft, list: readonly T[]): T[] {
  if (draft.fresh.has(list)) return list as T[];
  const copy = [...list];
  draft.fresh.add(copy);
  return copy;
}

/** Adds an item that is complete. */
export function add(draft: Draft, item: Item): void {
  draft.items.push(item);
}

/** Adds an item that later events update, under `key`. */
export function addOpen(draft: Draft, key: string, item: Item): void {
  draft.open.set(key, draft.items.length);
  draft.items.push(item);
}

/** Updates the open item under `key`. Returns false if there is none of this type. */
export function update<T extends Item['type']>(
  draft: Draft,
  key: string,
  type: T,
  change: (item: Extract<Item, { type: T }>) => Item,
): boolean {
  const index = draft.open.get(key);
  const item = index === undefined ? undefined : draft.items[index];
  if (index === undefined || item?.type !== type) return false;
  draft.items[index] = change(item as Extract<Item, { type: T }>);
  return true;
}

/** Updates the open item under `key` a last time. Returns as `update`. */
export function close<T extends Item['type']>(
  draft: Draft,
  key: string,
  type: T,
  change: (item: Extract<Item, { type: T }>) => Item,
): boolean {
  const found = update(draft, key, type, change);
  draft.open.delete(key);
  return found;
}

/** The keys of the open items of a kind. */
export const openKeys = (draft: Draft, kind: string) =>
  [...draft.open.keys()].filter((key) => key.startsWith(`${kind}:`));
