import type { Event } from '../api/Event';
import type { Frame } from '../api/Frame';
import { readJson } from '../hidden-characters';
import type { SseMessage } from './sse';

/** A decoded message of an incident's stream. */
export type Arrival =
  | { type: 'event'; event: Event }
  | { type: 'frame'; frame: Frame }
  | { type: 'caught-up'; seq: number };

/**
 * Decodes one message. With an id it is an event of the log; without one, a frame or the mark at
 * the end of the replay. Undefined if the message is unknown: a newer server may send more kinds.
 */
export function decode(message: SseMessage): Arrival | undefined {
  const data: unknown = parse(message.data);
  if (typeof data !== 'object' || data === null) return undefined;
  if (message.id !== undefined && 'seq' in data && typeof data.seq === 'number') {
    return { type: 'event', event: data as Event };
  }
  if (message.event === 'caught-up' && 'seq' in data && typeof data.seq === 'number') {
    return { type: 'caught-up', seq: data.seq };
  }
  return 'frame' in data ? { type: 'frame', frame: data as Frame } : undefined;
}

function parse(text: string): unknown {
  try {
    return readJson(text);
  } catch {
    return undefined;
  }
}

/** The stream skipped an event: resume it after the last one received in order. */
export class Gap extends Error {
  constructor(expected: number, received: number) {
    super(`expected event ${expected}, received event ${received}`);
    this.name = 'Gap';
  }
}

/**
 * Drops the events up to number `last`. Returns the remaining arrivals and the number of the last
 * event. Throws `Gap` if an event is missing.
 */
export function inOrder(arrivals: Arrival[], last: number): { fresh: Arrival[]; last: number } {
  const fresh: Arrival[] = [];
  for (const arrival of arrivals) {
    if (arrival.type === 'event') {
      if (arrival.event.seq <= last) continue;
      if (arrival.event.seq !== last + 1) throw new Gap(last + 1, arrival.event.seq);
      last = arrival.event.seq;
    }
    fresh.push(arrival);
  }
  return { fresh, last };
}
