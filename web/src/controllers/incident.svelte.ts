import type { Vitals } from '../lib/api/Vitals';
import { eventsUrl } from '../lib/http/client';
import { attend } from '../lib/live/attention';
import type { Arrival } from '../lib/live/decode';
import { places } from '../lib/live/places';
import { LiveStream, type Connection } from '../lib/live/stream';
import { emptyTimeline, type Timeline } from '../lib/timeline/items';
import { reduce } from '../lib/timeline/reduce';
import { degraded } from '../lib/timeline/select';

type Told = {
  vitals(vitals: Vitals): void;
  signedOut(): void;
  heard(at: number): void;
};

/** One incident as it is shown: its timeline, kept up to date until `stop`. */
export class LiveIncident {
  timeline = $state.raw<Timeline>(emptyTimeline);
  connection = $state.raw<Connection>({ state: 'connecting' });
  /** Whether the whole log up to now was read once; before that, half of it would mislead. */
  complete = $state(false);
  /** How many events came so far, while the log is being read. */
  read = $state(0);
  /** When the server was last heard, in ms since the epoch. */
  heardAt = $state(Date.now());
  /** Counts the wishes to see the end of the timeline. */
  endWanted = $state(0);
  readonly degraded = $derived(degraded(this.timeline.items));
  readonly running = $derived(this.timeline.turn);
  #stream: LiveStream;
  #inattentive: () => void;

  constructor(
    readonly id: string,
    private readonly told: Told,
  ) {
    const stream = this.#listen();
    this.#stream = stream;
    this.#inattentive = attend({
      away: () => stream.sleep(),
      back: () => stream.wake(),
      focused: () => stream.prefer(),
    });
    void stream.run();
  }

  stop(): void {
    this.#inattentive();
    this.#stream.stop();
  }

  /** An action of this page is about to show there. */
  toEnd(): void {
    this.endWanted += 1;
  }

  /** Tries to connect now. */
  nudge(): void {
    this.#stream.nudge();
  }

  #listen(): LiveStream {
    const listener = {
      arrivals: (batch: Arrival[]) => this.#arrivals(batch),
      restart: () => {
        this.timeline = emptyTimeline;
      },
      connection: (connection: Connection) => this.#connection(connection),
      heard: (at: number) => {
        this.heardAt = at;
        this.told.heard(at);
      },
    };
    return new LiveStream(eventsUrl(this.id), listener, places());
  }

  #arrivals(batch: Arrival[]): void {
    this.timeline = reduce(this.timeline, batch);
    this.read = this.timeline.seq;
    if (batch.some((arrival) => arrival.type === 'caught-up')) this.complete = true;
    for (const arrival of batch) {
      if (arrival.type === 'frame' && arrival.frame.frame === 'vitals') {
        this.told.vitals(arrival.frame);
      }
    }
  }

  #connection(connection: Connection): void {
    this.connection = connection;
    if (connection.state === 'ended') this.complete = true;
    if (connection.state === 'ended' && connection.reason === 'signed-out') this.told.signedOut();
  }
}
