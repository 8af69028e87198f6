import type { Vitals } from '../lib/api/Vitals';
import { eventsUrl } from '../lib/http/client';
import type { Arrival } from '../lib/live/decode';
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

  constructor(
    readonly id: string,
    private readonly told: Told,
  ) {
    this.#stream = new LiveStream(eventsUrl(id), {
      arrivals: (batch) => this.#arrivals(batch),
      restart: () => {
        this.timeline = emptyTimeline;
      },
      connection: (connection) => this.#connection(connection),
      heard: (at) => {
        this.heardAt = at;
        told.heard(at);
      },
    });
    void this.#stream.run();
  }

  stop(): void {
    this.#stream.stop();
  }

  /** An action of this page is about to show there. */
  toEnd(): void {
    this.endWanted += 1;
  }

  /** The page or the network came back. */
  nudge(): void {
    this.#stream.nudge();
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
