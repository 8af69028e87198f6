import { decode, inOrder, type Arrival } from './decode';
import { SseParser } from './sse';

/** How the connection is. `since` is in ms since the epoch; a lost one is tried again by itself. */
export type Connection =
  | { state: 'connecting' }
  | { state: 'live' }
  | { state: 'lost'; since: number; reason: string }
  | { state: 'ended'; reason: 'signed-out' | 'gone' | 'closed' };

/** What the stream tells its owner. */
export type Listener = {
  arrivals(batch: Arrival[]): void;
  connection(connection: Connection): void;
  /** The server's log is shorter than what was handed on: all of it will come again. */
  restart(): void;
  /** Bytes came, even if only a comment. */
  heard(at: number): void;
};

/** The server sends at least a comment each 15 s: two missed and some grace is a dead line. */
export const SILENCE_MS = 40_000;
/** After this long without a byte, a page that comes back to the foreground does not wait. */
const DOUBT_MS = 16_000;
const CONNECT_MS = 10_000;
const BACKOFF_MS = [250, 500, 1_000, 2_000, 4_000, 8_000];

/**
 * An incident's events, kept coming: connects, notices when the line has gone silent, and
 * resumes after the last event that it handed on, so that its owner gets each one exactly once.
 *
 * Knows no UI and holds no events. One instance follows one incident until `stop`.
 */
export class LiveStream {
  #url: string;
  #listener: Listener;
  #last = 0;
  #failures = 0;
  #heardAt = 0;
  #lostSince: number | undefined;
  #stopped = false;
  #abort: AbortController | undefined;
  #wake: (() => void) | undefined;

  constructor(url: string, listener: Listener) {
    this.#url = url;
    this.#listener = listener;
  }

  /** Follows the stream until it ends for good or `stop` is called. */
  async run(): Promise<void> {
    while (!this.#stopped) {
      if (this.#lostSince === undefined) this.#listener.connection({ state: 'connecting' });
      const reason = await this.#follow();
      if (this.#stopped) return;
      this.#lostSince ??= Date.now();
      const delay = this.#delay();
      this.#failures += 1;
      this.#listener.connection({ state: 'lost', since: this.#lostSince, reason });
      await this.#pause(delay);
    }
  }

  /** Ends the stream; nothing is told to the listener afterwards. */
  stop(): void {
    this.#stopped = true;
    this.#abort?.abort();
    this.#wake?.();
  }

  /** The network or the page came back: connect now, unless the line is known to be alive. */
  nudge(): void {
    this.#failures = 0;
    if (this.#wake) this.#wake();
    else if (Date.now() - this.#heardAt > DOUBT_MS) this.#abort?.abort();
  }

  /** One connection, from request to its end. Returns why it ended, as a sentence. */
  async #follow(): Promise<string> {
    const abort = new AbortController();
    this.#abort = abort;
    let watchdog = setTimeout(() => abort.abort(), CONNECT_MS);
    try {
      const response = await fetch(this.#url, {
        headers: { Accept: 'text/event-stream', 'Last-Event-ID': String(this.#last) },
        cache: 'no-store',
        credentials: 'same-origin',
        signal: abort.signal,
      });
      if (response.status === 401) return this.#end('signed-out');
      if (response.status === 404) return this.#end('gone');
      if (response.status === 204) return this.#end('closed');
      if (response.status === 409) return this.#startOver();
      if (!response.ok || !response.body) return `The server answered ${response.status}.`;
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new SseParser();
      for (;;) {
        clearTimeout(watchdog);
        watchdog = setTimeout(() => abort.abort(), SILENCE_MS);
        const { value, done } = await reader.read();
        if (done) return 'The server ended the connection.';
        this.#heard();
        if (this.#take(parser, value)) return this.#end('closed');
      }
    } catch {
      return 'No connection to the server.';
    } finally {
      clearTimeout(watchdog);
      abort.abort();
      this.#abort = undefined;
    }
  }

  /** Hands on what a chunk holds; true once the incident's last event is among it. */
  #take(parser: SseParser, chunk: string): boolean {
    const arrivals = parser.push(chunk).flatMap((message) => decode(message) ?? []);
    const { fresh, last } = inOrder(arrivals, this.#last);
    this.#last = last;
    if (this.#stopped || fresh.length === 0) return false;
    this.#listener.arrivals(fresh);
    if (fresh.some((arrival) => arrival.type === 'caught-up')) this.#alive();
    return fresh.some((a) => a.type === 'event' && a.event.kind === 'incident_closed');
  }

  /** A server that lost events (its store was restored, or was memory alone) has a shorter log. */
  #startOver(): string {
    this.#last = 0;
    this.#listener.restart();
    return 'The server has lost a part of the log.';
  }

  #heard(): void {
    this.#heardAt = Date.now();
    if (!this.#stopped) this.#listener.heard(this.#heardAt);
  }

  #alive(): void {
    this.#failures = 0;
    this.#lostSince = undefined;
    this.#listener.connection({ state: 'live' });
  }

  #end(reason: 'signed-out' | 'gone' | 'closed'): string {
    if (!this.#stopped) this.#listener.connection({ state: 'ended', reason });
    this.#stopped = true;
    return reason;
  }

  /** Grows with each failure in a row, with a little spread so that pages don't return at once. */
  #delay(): number {
    const base = BACKOFF_MS[Math.min(this.#failures, BACKOFF_MS.length - 1)] ?? 8_000;
    return base * (0.75 + Math.random() / 2);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#wake = done;
    });
  }
}
