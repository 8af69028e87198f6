import type { Vitals } from '../lib/api/Vitals';
import { eventsUrl } from '../lib/http/client';
import type { Arrival } from '../lib/live/decode';
import { watchPageActivity } from '../lib/live/page-activity';
import { LiveStream, type Connection } from '../lib/live/stream';
import { streamSlots } from '../lib/live/stream-slots';
import { emptyTimeline, type Timeline } from '../lib/timeline/items';
import { reduce } from '../lib/timeline/reduce';
import { degraded } from '../lib/timeline/select';

type Listener = {
  vitals(vitals: Vitals): void;
  signedOut(): void;
  /** Bytes arrived from the server; `at` in ms since the epoch. */
  contact(at: number): void;
};

/** One incident's timeline, kept up to date until `stop`. */
export class LiveIncident {
  timeline = $state.raw<Timeline>(emptyTimeline);
  connection = $state.raw<Connection>({ state: 'connecting' });
  /** Whether the log was once read to its end. Until then the timeline may mislead. */
  complete = $state(false);
  /** Number of events received so far. */
  eventsRead = $state(0);
  /** Time of the last byte from the server, in ms since the epoch. */
  lastContact = $state(Date.now());
  /** Incremented to request a scroll to the bottom. */
  scrollRequests = $state(0);
  readonly degraded = $derived(degraded(this.timeline.items));
  #stream: LiveStream;
  #unwatch: () => void;

  constructor(
    readonly id: string,
    private readonly listener: Listener,
  ) {
    const stream = this.#createStream();
    this.#stream = stream;
    this.#unwatch = watchPageActivity({
      inactive: () => stream.pause(),
      active: () => stream.resume(),
      focused: () => stream.prioritise(),
    });
    void stream.run();
  }

  stop(): void {
    this.#unwatch();
    this.#stream.stop();
  }

  scrollToEnd(): void {
    this.scrollRequests += 1;
  }

  /** Reconnects now, unless the connection works. */
  retryNow(): void {
    this.#stream.retryNow();
  }

  #createStream(): LiveStream {
    const listener = {
      arrivals: (batch: Arrival[]) => this.#apply(batch),
      restart: () => {
        this.timeline = emptyTimeline;
      },
      connection: (connection: Connection) => this.#setConnection(connection),
      contact: (at: number) => {
        this.lastContact = at;
        this.listener.contact(at);
      },
    };
    return new LiveStream(eventsUrl(this.id), listener, streamSlots());
  }

  #apply(batch: Arrival[]): void {
    this.timeline = reduce(this.timeline, batch);
    this.eventsRead = this.timeline.seq;
    if (batch.some((arrival) => arrival.type === 'caught-up')) this.complete = true;
    for (const arrival of batch) {
      if (arrival.type === 'frame' && arrival.frame.frame === 'vitals') {
        this.listener.vitals(arrival.frame);
      }
    }
  }

  #setConnection(connection: Connection): void {
    this.connection = connection;
    if (connection.state !== 'ended') return;
    this.complete = true;
    if (connection.reason === 'signed-out') this.listener.signedOut();
  }
}
