import type { Event } from '../api/Event';
import type { Frame } from '../api/Frame';
import { readJson } from '../visible';
import type { SseMessage } from './sse';

/** What a message of an incident's stream means. */
export type Arrival =
  | { type: 'event'; event: Event }
  | { type: 'frame'; frame: Frame }
  | { type: 'caught-up'; seq: number };

/**
 * Reads one message: with an id it is an event of the log; without, a frame or the mark where
 * replay ends. What a newer server may send beyond that is skipped: undefined.
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

/** Thrown when the stream skips a number: it has to be resumed from the last one in order. */
export class Gap extends Error {
  constructor(expected: number, got: number) {
    super(`event ${got} came where ${expected} was due`);
    this.name = 'Gap';
  }
}

/**
 * Keeps what is new after event `last`: what was seen already is dropped, a gap throws.
 * Returns the arrivals in order and the number of the last event.
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
