/*
 * Commands and approval requests are parts of the tool call that caused them, and are shown below
 * it. In the map `open`, a part's key leads to the item that contains it: the tool call, or the
 * part itself if it has no tool call.
 */
import { add, openKeys, writable, type Draft } from './draft';
import type { Item, Part } from './items';

const keyOf = (part: Part) =>
  part.type === 'command' ? `command:${part.command}` : `approval:${part.approval}`;

/** Adds an open part, to the tool call `call` if the timeline has it. */
export function addOpenPart(draft: Draft, call: string | undefined, part: Part): void {
  // An unrecorded part is an item of its own, because only items are marked as not recorded.
  const index = part.recorded ? draft.open.get(`call:${call}`) : undefined;
  const tool = index === undefined ? undefined : draft.items[index];
  draft.open.set(keyOf(part), tool && index !== undefined ? index : draft.items.length);
  if (index === undefined || tool?.type !== 'tool') return add(draft, part);
  const parts = writable(draft, tool.parts);
  parts.push(part);
  draft.items[index] = { ...tool, parts };
}

/** Updates the open part under `key`, if there is one of this type. */
export function updatePart<T extends Part['type']>(
  draft: Draft,
  key: string,
  type: T,
  change: (part: Extract<Part, { type: T }>) => Part,
): void {
  const index = draft.open.get(key);
  const item = index === undefined ? undefined : draft.items[index];
  if (index === undefined || !item) return;
  const next = (part: Part) =>
    part.type === type ? change(part as Extract<Part, { type: T }>) : part;
  draft.items[index] = within(draft, item, key, next);
}

/** Updates every open part of this type. */
export function updateParts<T extends Part['type']>(
  draft: Draft,
  type: T,
  change: (part: Extract<Part, { type: T }>) => Part,
): void {
  for (const key of openKeys(draft, type)) updatePart(draft, key, type, change);
}

function within(draft: Draft, item: Item, key: string, next: (part: Part) => Part): Item {
  if (item.type === 'command' || item.type === 'approval') return next(item);
  if (item.type !== 'tool') return item;
  const index = item.parts.findLastIndex((part) => keyOf(part) === key);
  const part = item.parts[index];
  if (!part) return item;
  const parts = writable(draft, item.parts);
  parts[index] = next(part);
  return { ...item, parts };
}
