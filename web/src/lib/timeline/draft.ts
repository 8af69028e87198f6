import type { Actor } from '../api/Actor';
import type { EventBody } from '../api/EventBody';
import type { Item, Timeline } from './items';

/** Where an event comes from: a stored event, or a frame that says what could not be stored. */
export type Origin = { id: string; at: string; actor: Actor; recorded: boolean };

/** An event's fields, by its kind. */
export type Of<K extends EventBody['kind']> = Extract<EventBody, { kind: K }>;

/** A timeline that is being built from a batch; without `own` it is a value again. */
export type Draft = Omit<Timeline, 'items' | 'open'> & {
  items: Item[];
  open: Map<string, number>;
  /** Lists that were made in this batch: nobody has seen them yet, so they may grow in place. */
  own: WeakSet<object>;
};

export function draftOf(timeline: Timeline): Draft {
  return {
    ...timeline,
    items: [...timeline.items],
    open: new Map(timeline.open),
    own: new WeakSet(),
  };
}

/** The finished timeline. */
export function done({ own: _, ...timeline }: Draft): Timeline {
  return timeline;
}

/** The list, or a copy if somebody may have seen it: one that may be written to. */
export function writable<T>(draft: Draft, list: readonly T[]): T[] {
  if (draft.own.has(list)) return list as T[];
  const copy = [...list];
  draft.own.add(copy);
  return copy;
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

/** The keys of open items of a kind. */
export const openKeys = (draft: Draft, kind: string) =>
  [...draft.open.keys()].filter((key) => key.startsWith(`${kind}:`));
