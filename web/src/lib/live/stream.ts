import { requireServer, SignedOutAtEdge } from '../http/edge';
import { Problem, Unconfirmed } from '../http/problem';
import { decode, inOrder, type Arrival } from './decode';
import type { Place, Places } from './places';
import { SseParser } from './sse';

/**
 * How the connection is. `since` is in ms since the epoch; a lost one is tried again by itself.
 * `polled`: the log is read every few seconds, since other tabs hold the streams. `paused`: nobody
 * looks at the page, or it is only just looked at again.
 */
export type Connection =
  | { state: 'connecting' }
  | { state: 'live'; polled: boolean }
  | { state: 'paused' }
  | { state: 'lost'; since: number; reason: string }
  | { state: 'ended'; reason: 'signed-out' | 'gone' | 'closed' };

/** What the stream tells its owner. */
export type Listener = {
  arrivals(batch: Arrival[]): void;
  connection(connection: Connection): void;
  /** The server's log is shorter than what was handed on: all of it will come again. */
  restart(): void;
  /** Bytes of the server came, even if only a comment. */
  heard(at: number): void;
};

/** The server sends at least a comment each 15 s: two missed and some grace is a dead line. */
export const SILENCE_MS = 40_000;
/** After this long without a byte, a page that comes back to the foreground does not wait. */
const DOUBT_MS = 16_000;
/** The same for a connection that has not yet brought a byte. */
const CONNECT_DOUBT_MS = 2_000;
const CONNECT_MS = 10_000;
const BACKOFF_MS = [250, 500, 1_000, 2_000, 4_000, 8_000];
/** A connection that lasts for less counts as one more failure. */
const STEADY_MS = 5_000;
/** Between two tries while the edge wants a sign-in: each may cost it a session. */
const SIGNED_OUT_MS = 15_000;
/** Between two visits of a tab that has no place for a stream. */
export const VISIT_MS = 3_000;
/** After this long in which a page that is back has not caught up, it says so. */
const CATCH_UP_MS = 2_000;

/** How one connection ended: `left` by us, `visited` with everything read, or `lost` and why. */
type End = { how: 'left' | 'visited' | 'over' } | { how: 'lost'; reason: string; waitMs?: number };

/**
 * An incident's events, kept coming: connects, notices when the line has gone silent, and
 * resumes after the last event that it handed on, so that its owner gets each one exactly once.
 *
 * Knows no UI and holds no events. One instance follows one incident until `stop`.
 */
export class LiveStream {
  #last = 0;
  #failures = 0;
  #heardAt = 0;
  #lostSince: number | undefined;
  #stopped = false;
  #asleep = false;
  /** Whether the next connection may take another tab's place. */
  #urgent = false;
  #staying = false;
  /** When the connection was begun, and since when it has been live. */
  #begunAt = 0;
  #aliveAt = 0;
  #abort: AbortController | undefined;
  #wake: (() => void) | undefined;

  constructor(
    private readonly url: string,
    private readonly listener: Listener,
    private readonly places: Places,
  ) {}

  /** Follows the stream until it ends for good or `stop` is called. */
  async run(): Promise<void> {
    while (!this.#stopped) {
      if (this.#asleep) {
        await this.#pause();
        continue;
      }
      if (this.#heardAt === 0 && this.#lostSince === undefined) {
        this.listener.connection({ state: 'connecting' });
      }
      const end = await this.#placed();
      if (this.#stopped) return;
      if (end.how === 'visited') await this.#visited();
      else if (end.how === 'lost') await this.#failed(end.reason, end.waitMs);
    }
  }

  /** Ends the stream; nothing is told to the listener afterwards. */
  stop(): void {
    this.#stopped = true;
    this.#abort?.abort();
    this.#wake?.();
  }

  /** Lets go of the connection until `wake`: nobody looks at the page. */
  sleep(): void {
    if (this.#asleep || this.#stopped) return;
    this.#asleep = true;
    this.#letGo();
    this.#wake?.();
  }

  /** Goes on after the last event that was handed on. */
  wake(): void {
    this.#asleep = false;
    this.nudge();
  }

  /** The network or the page came back: connect now, unless the line is known to be alive. */
  nudge(): void {
    this.#failures = 0;
    if (this.#wake) this.#wake();
    else if (this.#isDoubtful()) this.#letGo();
  }

  /** This tab is the one that is worked in: it takes a place for a stream if it has none. */
  prefer(): void {
    if (this.#staying) return;
    this.#urgent = true;
    this.#wake?.();
  }

  /** Ends the connection, if any; what is shown is not known to be current until the next one. */
  #letGo(): void {
    if (this.#heardAt > 0 && this.#lostSince === undefined) {
      this.listener.connection({ state: 'paused' });
    }
    this.#abort?.abort();
  }

  #isDoubtful(): boolean {
    const heard = this.#heardAt >= this.#begunAt;
    // Either way: the clock may have been set.
    const silence = Math.abs(Date.now() - (heard ? this.#heardAt : this.#begunAt));
    return silence > (heard ? DOUBT_MS : CONNECT_DOUBT_MS);
  }

  /** One connection in the place that it needs. */
  async #placed(): Promise<End> {
    const abort = new AbortController();
    this.#abort = abort;
    this.#begunAt = Date.now();
    const slow = setTimeout(() => this.#catchingUp(), CATCH_UP_MS);
    const place = await this.#takePlace(abort);
    try {
      if (abort.signal.aborted) return { how: 'left' };
      return await this.#follow(abort, () => clearTimeout(slow));
    } finally {
      clearTimeout(slow);
      abort.abort();
      this.#abort = undefined;
      this.#staying = false;
      place?.release();
    }
  }

  /** The place of a stream that stays, else that of a visitor. Without either it is a visit too. */
  async #takePlace(abort: AbortController): Promise<Place | undefined> {
    const urgent = this.#urgent;
    this.#urgent = false;
    const stay = await this.places.stay(urgent);
    this.#staying = stay !== undefined;
    const place = stay ?? (await this.places.visit(abort.signal));
    place?.lost.addEventListener('abort', () => abort.abort());
    return place;
  }

  /** One connection, from request to its end. */
  async #follow(abort: AbortController, caughtUp: () => void): Promise<End> {
    const line = new AbortController();
    abort.signal.addEventListener('abort', () => line.abort());
    let watchdog = setTimeout(() => line.abort(), CONNECT_MS);
    try {
      const response = await fetch(this.url, {
        headers: { Accept: 'text/event-stream', 'Last-Event-ID': String(this.#last) },
        cache: 'no-store',
        credentials: 'same-origin',
        // The server redirects nothing: only an edge does, to its sign-in.
        redirect: 'manual',
        signal: line.signal,
      });
      // There is no log without an event, so this is no word of the server about its end.
      if (response.status === 204 && this.#last > 0) return this.#end('closed');
      await requireServer(response, 'text/event-stream');
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new SseParser();
      for (;;) {
        clearTimeout(watchdog);
        watchdog = setTimeout(() => line.abort(), SILENCE_MS);
        const { value, done } = await reader.read();
        if (done) return { how: 'lost', reason: 'The server ended the connection.' };
        this.#heard();
        const taken = this.#take(parser, value);
        if (taken === 'closed') return this.#end('closed');
        if (taken !== 'caught-up') continue;
        caughtUp();
        this.#alive();
        if (!this.#staying) return { how: 'visited' };
      }
    } catch (error) {
      return abort.signal.aborted ? { how: 'left' } : this.#why(error);
    } finally {
      clearTimeout(watchdog);
      line.abort();
    }
  }

  /** What an answer that is no stream means; anything else is a line that failed. */
  #why(error: unknown): End {
    if (error instanceof SignedOutAtEdge) {
      return { how: 'lost', reason: `${error.title}.`, waitMs: SIGNED_OUT_MS };
    }
    if (error instanceof Unconfirmed && typeof error.cause === 'string') {
      return { how: 'lost', reason: error.cause };
    }
    if (!(error instanceof Problem)) return { how: 'lost', reason: 'No connection to the server.' };
    if (error.status === 401) return this.#end('signed-out');
    if (error.status === 404) return this.#end('gone');
    if (error.status === 409) return this.#startOver();
    return { how: 'lost', reason: error.message };
  }

  /** Hands on what a chunk holds; says whether the log was read up to now, or to its last event. */
  #take(parser: SseParser, chunk: string): 'caught-up' | 'closed' | undefined {
    const arrivals = parser.push(chunk).flatMap((message) => decode(message) ?? []);
    const { fresh, last } = inOrder(arrivals, this.#last);
    this.#last = last;
    if (this.#stopped || fresh.length === 0) return undefined;
    this.listener.arrivals(fresh);
    if (fresh.some((a) => a.type === 'event' && a.event.kind === 'incident_closed'))
      return 'closed';
    return fresh.some((arrival) => arrival.type === 'caught-up') ? 'caught-up' : undefined;
  }

  /** A server that lost events (its store was restored, or was memory alone) has a shorter log. */
  #startOver(): End {
    this.#last = 0;
    this.listener.restart();
    return { how: 'lost', reason: 'The server has lost a part of the log.' };
  }

  #heard(): void {
    this.#heardAt = Date.now();
    if (!this.#stopped) this.listener.heard(this.#heardAt);
  }

  #alive(): void {
    this.#lostSince = undefined;
    this.#aliveAt = Date.now();
    this.listener.connection({ state: 'live', polled: !this.#staying });
  }

  #catchingUp(): void {
    if (this.#heardAt === 0 || this.#lostSince !== undefined || this.#stopped) return;
    this.#lost('Catching up with the server.');
  }

  #lost(reason: string): void {
    this.#lostSince ??= Date.now();
    this.listener.connection({ state: 'lost', since: this.#lostSince, reason });
  }

  #end(reason: 'signed-out' | 'gone' | 'closed'): End {
    if (!this.#stopped) this.listener.connection({ state: 'ended', reason });
    this.#stopped = true;
    return { how: 'over' };
  }

  async #visited(): Promise<void> {
    this.#failures = 0;
    await this.#pause(VISIT_MS);
  }

  async #failed(reason: string, waitMs: number | undefined): Promise<void> {
    if (this.#aliveAt >= this.#begunAt && Date.now() - this.#aliveAt >= STEADY_MS) {
      this.#failures = 0;
    }
    const delay = waitMs ?? this.#delay();
    this.#failures += 1;
    this.#lost(reason);
    await this.#pause(delay);
  }

  /** Grows with each failure in a row, with a little spread so that pages don't return at once. */
  #delay(): number {
    const base = BACKOFF_MS[Math.min(this.#failures, BACKOFF_MS.length - 1)] ?? 8_000;
    return base * (0.75 + Math.random() / 2);
  }

  /** Waits for a nudge, `ms` at most. */
  #pause(ms?: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
      const timer = ms === undefined ? undefined : setTimeout(done, ms);
      this.#wake = done;
    });
  }
}
