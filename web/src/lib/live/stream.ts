/*
 * Keeps one incident's event stream connected: connects, detects a dead connection, and resumes
 * after the last event delivered, so that the listener gets each event exactly once. Leaves the
 * limit on connections to StreamSlots and the state of the incident to the listener.
 */
import { requireServer, SignedOutAtEdge } from '../http/edge';
import { Problem, Unconfirmed } from '../http/problem';
import { decode, inOrder, type Arrival } from './decode';
import { SseParser } from './sse';
import type { StreamSlot, StreamSlots } from './stream-slots';

/**
 * The state of the connection.
 * - `live`: up to date. `polled`: other tabs have the stream slots, so this one polls.
 * - `paused`: the page is hidden, or was hidden a moment ago.
 * - `lost`: retried automatically. `since` in ms since the epoch.
 */
export type Connection =
  | { state: 'connecting' }
  | { state: 'live'; polled: boolean }
  | { state: 'paused' }
  | { state: 'lost'; since: number; reason: string }
  | { state: 'ended'; reason: 'signed-out' | 'gone' | 'closed' };

export type Listener = {
  arrivals(batch: Arrival[]): void;
  connection(connection: Connection): void;
  /** The server's log is shorter than before: the listener gets all events again. */
  restart(): void;
  /** Bytes arrived, even if only a comment; `at` in ms since the epoch. */
  contact(at: number): void;
};

/** The server sends at least a comment each 15 s. After two missed ones the connection is dead. */
export const SILENCE_TIMEOUT_MS = 40_000;
/** A page that becomes visible reconnects after this long without a byte. */
const SUSPECT_SILENCE_MS = 16_000;
/** The same for a connection that has not received a byte yet. */
const SUSPECT_CONNECT_MS = 2_000;
const CONNECT_TIMEOUT_MS = 10_000;
const BACKOFF_MS = [250, 500, 1_000, 2_000, 4_000, 8_000];
/** A shorter connection counts as another failure in a row. */
const STABLE_MS = 5_000;
/** Retry interval while signed out at the edge, which may open a session for each request. */
const EDGE_RETRY_MS = 15_000;
/** Poll interval of a tab without a stream slot. */
export const POLL_INTERVAL_MS = 3_000;
/** A page that becomes visible reports a lost connection if it is not up to date by then. */
const CATCH_UP_TIMEOUT_MS = 2_000;

/** How a connection ended: closed by us, after one poll, for good, or lost. */
type End =
  { how: 'disconnected' | 'polled' | 'ended' } | { how: 'lost'; reason: string; waitMs?: number };

/** One instance follows one incident until `stop`. */
export class LiveStream {
  #lastSeq = 0;
  #failures = 0;
  #receivedAt = 0;
  #lostSince: number | undefined;
  #stopped = false;
  #paused = false;
  /** Whether the next connection may take over another tab's slot. */
  #urgent = false;
  #hasSlot = false;
  #connectStartedAt = 0;
  #liveSince = 0;
  #abort: AbortController | undefined;
  /** Ends the current wait, if any. */
  #wake: (() => void) | undefined;

  constructor(
    private readonly url: string,
    private readonly listener: Listener,
    private readonly slots: StreamSlots,
  ) {}

  /** Runs until the stream ends for good or `stop` is called. */
  async run(): Promise<void> {
    while (!this.#stopped) {
      if (this.#paused) {
        await this.#wait();
        continue;
      }
      if (this.#receivedAt === 0 && this.#lostSince === undefined) {
        this.listener.connection({ state: 'connecting' });
      }
      const end = await this.#connect();
      if (this.#stopped) return;
      if (end.how === 'polled') {
        this.#failures = 0;
        await this.#wait(POLL_INTERVAL_MS);
      } else if (end.how === 'lost') {
        await this.#backOff(end.reason, end.waitMs);
      }
    }
  }

  /** Ends the stream. The listener gets nothing afterwards. */
  stop(): void {
    this.#stopped = true;
    this.#abort?.abort();
    this.#wake?.();
  }

  /** Closes the connection until `resume`, because the page is hidden. */
  pause(): void {
    if (this.#paused || this.#stopped) return;
    this.#paused = true;
    this.#disconnect();
    this.#wake?.();
  }

  /** Continues after the last event delivered. */
  resume(): void {
    this.#paused = false;
    this.retryNow();
  }

  /** Reconnects now, unless the connection works. */
  retryNow(): void {
    this.#failures = 0;
    if (this.#wake) this.#wake();
    else if (this.#isSuspect()) this.#disconnect();
  }

  /** The operator works in this tab: take over a stream slot if it has none. */
  prioritise(): void {
    if (this.#hasSlot) return;
    this.#urgent = true;
    this.#wake?.();
  }

  #disconnect(): void {
    if (this.#receivedAt > 0 && this.#lostSince === undefined) {
      this.listener.connection({ state: 'paused' });
    }
    this.#abort?.abort();
  }

  #isSuspect(): boolean {
    const received = this.#receivedAt >= this.#connectStartedAt;
    // The absolute value, because the clock may have been set back.
    const silenceMs = Math.abs(Date.now() - (received ? this.#receivedAt : this.#connectStartedAt));
    return silenceMs > (received ? SUSPECT_SILENCE_MS : SUSPECT_CONNECT_MS);
  }

  /** One connection with the slot that it needs. */
  async #connect(): Promise<End> {
    const abort = new AbortController();
    this.#abort = abort;
    this.#connectStartedAt = Date.now();
    const slow = setTimeout(() => this.#reportCatchingUp(), CATCH_UP_TIMEOUT_MS);
    const slot = await this.#acquireSlot(abort);
    try {
      if (abort.signal.aborted) return { how: 'disconnected' };
      return await this.#read(abort, () => clearTimeout(slow));
    } finally {
      clearTimeout(slow);
      abort.abort();
      this.#abort = undefined;
      this.#hasSlot = false;
      slot?.release();
    }
  }

  /** A slot for a lasting stream, else one for a poll. Polls even if it gets neither. */
  async #acquireSlot(abort: AbortController): Promise<StreamSlot | undefined> {
    const urgent = this.#urgent;
    this.#urgent = false;
    const lasting = await this.slots.acquire(urgent);
    this.#hasSlot = lasting !== undefined;
    const slot = lasting ?? (await this.slots.acquirePoll(abort.signal));
    slot?.lost.addEventListener('abort', () => abort.abort());
    return slot;
  }

  /** Sends the request and delivers events until the connection ends. */
  async #read(abort: AbortController, onCaughtUp: () => void): Promise<End> {
    const request = new AbortController();
    abort.signal.addEventListener('abort', () => request.abort());
    let watchdog = setTimeout(() => request.abort(), CONNECT_TIMEOUT_MS);
    try {
      const response = await fetch(this.url, {
        headers: { Accept: 'text/event-stream', 'Last-Event-ID': String(this.#lastSeq) },
        cache: 'no-store',
        credentials: 'same-origin',
        // The server never redirects: a redirect leads to the sign-in of an edge.
        redirect: 'manual',
        signal: request.signal,
      });
      // Every log has an event, so at number 0 a 204 did not come from the server.
      if (response.status === 204 && this.#lastSeq > 0) return this.#end('closed');
      await requireServer(response, 'text/event-stream');
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new SseParser();
      for (;;) {
        clearTimeout(watchdog);
        watchdog = setTimeout(() => request.abort(), SILENCE_TIMEOUT_MS);
        const { value, done } = await reader.read();
        if (done) return { how: 'lost', reason: 'The server ended the connection.' };
        this.#noteContact();
        const progress = this.#deliver(parser, value);
        if (progress === 'closed') return this.#end('closed');
        if (progress !== 'caught-up') continue;
        onCaughtUp();
        this.#setLive();
        if (!this.#hasSlot) return { how: 'polled' };
      }
    } catch (error) {
      return abort.signal.aborted ? { how: 'disconnected' } : this.#endAfter(error);
    } finally {
      clearTimeout(watchdog);
      request.abort();
    }
  }

  /** How the connection ended, from the error of its request. */
  #endAfter(error: unknown): End {
    if (error instanceof SignedOutAtEdge) {
      return { how: 'lost', reason: `${error.title}.`, waitMs: EDGE_RETRY_MS };
    }
    if (error instanceof Unconfirmed && typeof error.cause === 'string') {
      return { how: 'lost', reason: error.cause };
    }
    if (!(error instanceof Problem)) return { how: 'lost', reason: 'No connection to the server.' };
    if (error.status === 401) return this.#end('signed-out');
    if (error.status === 404) return this.#end('gone');
    if (error.status === 409) return this.#restart();
    return { how: 'lost', reason: error.message };
  }

  /** Delivers the events of a chunk. Returns whether the log was read to its end. */
  #deliver(parser: SseParser, chunk: string): 'caught-up' | 'closed' | undefined {
    const arrivals = parser.push(chunk).flatMap((message) => decode(message) ?? []);
    const { fresh, last } = inOrder(arrivals, this.#lastSeq);
    this.#lastSeq = last;
    if (this.#stopped || fresh.length === 0) return undefined;
    this.listener.arrivals(fresh);
    if (fresh.some((a) => a.type === 'event' && a.event.kind === 'incident_closed'))
      return 'closed';
    return fresh.some((arrival) => arrival.type === 'caught-up') ? 'caught-up' : undefined;
  }

  /** The server's log is shorter, because its store was restored or was only in memory. */
  #restart(): End {
    this.#lastSeq = 0;
    this.listener.restart();
    return { how: 'lost', reason: 'The server has lost a part of the log.' };
  }

  #noteContact(): void {
    this.#receivedAt = Date.now();
    if (!this.#stopped) this.listener.contact(this.#receivedAt);
  }

  #setLive(): void {
    this.#lostSince = undefined;
    this.#liveSince = Date.now();
    this.listener.connection({ state: 'live', polled: !this.#hasSlot });
  }

  #reportCatchingUp(): void {
    if (this.#receivedAt === 0 || this.#lostSince !== undefined || this.#stopped) return;
    this.#setLost('Catching up with the server.');
  }

  #setLost(reason: string): void {
    this.#lostSince ??= Date.now();
    this.listener.connection({ state: 'lost', since: this.#lostSince, reason });
  }

  #end(reason: 'signed-out' | 'gone' | 'closed'): End {
    if (!this.#stopped) this.listener.connection({ state: 'ended', reason });
    this.#stopped = true;
    return { how: 'ended' };
  }

  async #backOff(reason: string, waitMs: number | undefined): Promise<void> {
    const wasLive = this.#liveSince >= this.#connectStartedAt;
    if (wasLive && Date.now() - this.#liveSince >= STABLE_MS) this.#failures = 0;
    const delayMs = waitMs ?? this.#backOffMs();
    this.#failures += 1;
    this.#setLost(reason);
    await this.#wait(delayMs);
  }

  /** Grows with each failure in a row, with jitter so that pages don't all return at once. */
  #backOffMs(): number {
    const base = BACKOFF_MS[Math.min(this.#failures, BACKOFF_MS.length - 1)] ?? 8_000;
    return base * (0.75 + Math.random() / 2);
  }

  /** Waits for `ms`, or for ever, until `#wake` is called. */
  #wait(ms?: number): Promise<void> {
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
