import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Arrival } from './decode';
import type { Place, Places } from './places';
import { LiveStream, SILENCE_MS, VISIT_MS, type Connection } from './stream';

const event = (seq: number, kind = 'notice') =>
  `id: ${seq}\nevent: ${kind}\ndata: ${JSON.stringify({ seq, kind })}\n\n`;
const caughtUp = (seq: number) => `event: caught-up\ndata: {"seq":${seq}}\n\n`;

/** A server whose connections the test writes and cuts by hand. */
class Server {
  readonly asked: string[] = [];
  /** What it answers instead of a stream, one after the other. */
  readonly answers: Response[] = [];
  #pipes: ReadableStreamDefaultController<Uint8Array>[] = [];

  fetch = (_url: string, init: RequestInit): Promise<Response> => {
    expect(init.redirect).toBe('manual');
    this.asked.push(new Headers(init.headers).get('Last-Event-ID') ?? '');
    const body = new ReadableStream<Uint8Array>({
      start: (pipe) => {
        this.#pipes.push(pipe);
        init.signal?.addEventListener('abort', () => pipe.error(new Error('aborted')));
      },
    });
    const headers = { 'Content-Type': 'text/event-stream' };
    return Promise.resolve(this.answers.shift() ?? new Response(body, { headers }));
  };

  write(text: string): void {
    this.#pipes.at(-1)?.enqueue(new TextEncoder().encode(text));
  }

  cut(): void {
    this.#pipes.at(-1)?.close();
  }
}

/** Places that the test gives and takes by hand. */
class HandPlaces implements Places {
  free = true;
  urgent: boolean[] = [];
  held = 0;
  steal: () => void = () => undefined;

  stay(urgent: boolean): Promise<Place | undefined> {
    this.urgent.push(urgent);
    return Promise.resolve(this.free || urgent ? this.#give() : undefined);
  }

  visit(): Promise<Place> {
    return Promise.resolve(this.#give());
  }

  #give(): Place {
    this.held += 1;
    const lost = new AbortController();
    this.steal = () => lost.abort();
    return { lost: lost.signal, release: () => (this.held -= 1) };
  }
}

let server: Server;
let places: HandPlaces;
let seen: number[];
let states: Connection['state'][];
let last: Connection | undefined;
let heard: number;
let stream: LiveStream;

beforeEach(() => {
  vi.useFakeTimers();
  server = new Server();
  vi.stubGlobal('fetch', server.fetch);
  places = new HandPlaces();
  seen = [];
  states = [];
  last = undefined;
  heard = 0;
  const listener = {
    arrivals: (batch: Arrival[]) => {
      for (const arrival of batch) if (arrival.type === 'event') seen.push(arrival.event.seq);
    },
    connection: (connection: Connection) => {
      states.push(connection.state);
      last = connection;
    },
    heard: () => (heard += 1),
    restart: () => {
      seen = [];
    },
  };
  stream = new LiveStream('/events', listener, places);
  void stream.run();
});

afterEach(() => {
  stream.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const settle = () => vi.advanceTimersByTimeAsync(0);
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

test('it resumes after the last event, and nothing is lost or comes twice', async () => {
  server.write(event(1) + event(2) + caughtUp(2));
  await settle();
  server.cut();
  await vi.advanceTimersByTimeAsync(1_000);
  server.write(event(2) + event(3) + caughtUp(3));
  await settle();
  expect(server.asked).toEqual(['0', '2']);
  expect(seen).toEqual([1, 2, 3]);
  expect(states).toEqual(['connecting', 'live', 'lost', 'live']);
});

test('a gap makes it ask again from the last event in order', async () => {
  server.write(event(1) + caughtUp(1));
  await settle();
  server.write(event(3));
  await vi.advanceTimersByTimeAsync(1_000);
  expect(server.asked).toEqual(['0', '1']);
  expect(seen).toEqual([1]);
});

test('a line that is silent for too long is given up', async () => {
  server.write(caughtUp(0));
  await settle();
  await vi.advanceTimersByTimeAsync(SILENCE_MS - 1);
  expect(server.asked).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(server.asked).toHaveLength(2);
});

test('a comment is a sign of life', async () => {
  server.write(caughtUp(0));
  await settle();
  for (let n = 0; n < 5; n += 1) {
    await vi.advanceTimersByTimeAsync(SILENCE_MS - 1);
    server.write(': keep-alive\n\n');
    await settle();
  }
  expect(server.asked).toHaveLength(1);
});

test('a nudge connects at once while it waits', async () => {
  for (let n = 0; n < 6; n += 1) {
    server.cut();
    await vi.advanceTimersByTimeAsync(12_000);
  }
  const before = server.asked.length;
  server.cut();
  await settle();
  expect(server.asked).toHaveLength(before);
  stream.nudge();
  await settle();
  expect(server.asked).toHaveLength(before + 1);
});

test('a nudge leaves a line alone that was heard a moment ago', async () => {
  server.write(caughtUp(0));
  await settle();
  stream.nudge();
  await settle();
  expect(server.asked).toHaveLength(1);
});

test('it ends with the incident', async () => {
  server.write(event(1, 'incident_closed'));
  await settle();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(states.at(-1)).toBe('ended');
  expect(server.asked).toHaveLength(1);
});

test('a page that is put aside lets go of its line, and goes on after the last event', async () => {
  server.write(event(1) + caughtUp(1));
  await settle();
  stream.sleep();
  await pass(3_600_000);
  expect(server.asked).toHaveLength(1);
  expect(places.held).toBe(0);
  expect(states.at(-1)).toBe('paused');
  stream.wake();
  await settle();
  server.write(event(2) + caughtUp(2));
  await settle();
  expect(server.asked).toEqual(['0', '1']);
  expect(seen).toEqual([1, 2]);
  expect(states).toEqual(['connecting', 'live', 'paused', 'live']);
});

test('a page that is back says so where it can’t catch up at once', async () => {
  server.write(caughtUp(0));
  await settle();
  stream.sleep();
  await settle();
  stream.wake();
  await pass(2_500);
  expect(last).toMatchObject({ state: 'lost', reason: 'Catching up with the server.' });
  server.write(caughtUp(0));
  await settle();
  expect(last).toEqual({ state: 'live', polled: false });
});

test('without a place it reads the log now and then, and keeps no line in between', async () => {
  places.free = false;
  server.cut();
  await pass(1_000);
  server.write(event(1) + caughtUp(1));
  await settle();
  expect(last).toEqual({ state: 'live', polled: true });
  expect(places.held).toBe(0);
  const before = server.asked.length;
  await pass(VISIT_MS);
  server.write(event(2) + caughtUp(2));
  await settle();
  expect(server.asked.slice(before)).toEqual(['1']);
  expect(seen).toEqual([1, 2]);
  expect(places.held).toBe(0);
});

test('a place that another tab took is given up, and one that is free is taken', async () => {
  server.write(caughtUp(0));
  await settle();
  places.free = false;
  places.steal();
  await settle();
  server.write(caughtUp(0));
  await settle();
  expect(last).toEqual({ state: 'live', polled: true });
  places.free = true;
  await pass(VISIT_MS);
  server.write(caughtUp(0));
  await settle();
  expect(last).toEqual({ state: 'live', polled: false });
  expect(states).not.toContain('lost');
});

test('the tab that is worked in takes a place once', async () => {
  places.free = false;
  server.cut();
  await pass(1_000);
  server.write(caughtUp(0));
  await settle();
  stream.prefer();
  await settle();
  server.write(caughtUp(0));
  await settle();
  expect(last).toEqual({ state: 'live', polled: false });
  stream.prefer();
  await settle();
  expect(places.urgent.filter((urgent) => urgent)).toHaveLength(1);
});

const html = (status = 200) =>
  new Response('<form>Sign in</form>', { status, headers: { 'Content-Type': 'text/html' } });
/** What fetch makes of a redirect that it was told not to follow. */
const redirected = () =>
  Object.defineProperties(new Response(null), {
    status: { value: 0 },
    ok: { value: false },
    type: { value: 'opaqueredirect' },
  });

test.each([
  ['a page', () => html()],
  ['a page that forbids', () => html(403)],
  ['a redirect', redirected],
  ['nothing', () => new Response(null, { status: 204 })],
])('%s instead of the stream is the edge’s sign-in, and no sign of life', async (_, answer) => {
  server.cut();
  await settle();
  const [asked, before] = [server.asked.length, heard];
  server.answers.push(answer());
  await pass(1_000);
  expect(server.asked).toHaveLength(asked + 1);
  expect(last).toMatchObject({ state: 'lost', reason: 'Signed out at the edge.' });
  expect(heard).toBe(before);
  await pass(10_000);
  expect(server.asked, 'an edge is not asked again at once').toHaveLength(asked + 1);
  await pass(10_000);
  server.write(event(1) + caughtUp(1));
  await settle();
  expect(last?.state).toBe('live');
});

test('an edge that can’t reach the server says that, and not that it wants a sign-in', async () => {
  server.answers.push(html(502));
  server.cut();
  await pass(1_000);
  expect(last).toMatchObject({ state: 'lost', reason: 'The edge answered 502.' });
});

test('a stream that ends as soon as it was read is asked for ever more rarely', async () => {
  const asked = () => server.asked.length;
  for (let n = 0; n < 8; n += 1) {
    server.write(caughtUp(0));
    await settle();
    server.cut();
    await pass(12_000);
  }
  const before = asked();
  server.write(caughtUp(0));
  await settle();
  server.cut();
  await pass(5_000);
  expect(asked()).toBe(before);
});

test('a clock that is set while it waits for nothing breaks no line', async () => {
  server.write(caughtUp(0));
  await settle();
  vi.setSystemTime(Date.now() - 3_600_000);
  stream.nudge();
  await settle();
  server.write(caughtUp(0));
  await settle();
  expect(last?.state).toBe('live');
  expect(seen).toEqual([]);
});
