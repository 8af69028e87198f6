// The event stream against a fake server and fake slots: resuming, polling, pausing and back-off.
// Leaves parsing to sse.test and decode.test.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Arrival } from './decode';
import type { StreamSlot, StreamSlots } from './stream-slots';
import { LiveStream, SILENCE_TIMEOUT_MS, POLL_INTERVAL_MS, type Connection } from './stream';

const event = (seq: number, kind = 'notice') =>
  `id: ${seq}\nevent: ${kind}\ndata: ${JSON.stringify({ seq, kind })}\n\n`;
const caughtUp = (seq: number) => `event: caught-up\ndata: {"seq":${seq}}\n\n`;

/** A server whose connections the test writes to and closes. */
class Server {
  /** The `Last-Event-ID` of each request. */
  readonly requests: string[] = [];
  /** Answers to send instead of a stream, in turn. */
  readonly answers: Response[] = [];
  #pipes: ReadableStreamDefaultController<Uint8Array>[] = [];

  fetch = (_url: string, init: RequestInit): Promise<Response> => {
    expect(init.redirect).toBe('manual');
    this.requests.push(new Headers(init.headers).get('Last-Event-ID') ?? '');
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

/** Slots that the test grants and takes. */
class FakeSlots implements StreamSlots {
  free = true;
  urgent: boolean[] = [];
  held = 0;
  steal: () => void = () => undefined;

  acquire(urgent: boolean): Promise<StreamSlot | undefined> {
    this.urgent.push(urgent);
    return Promise.resolve(this.free || urgent ? this.#grant() : undefined);
  }

  acquirePoll(): Promise<StreamSlot> {
    return Promise.resolve(this.#grant());
  }

  #grant(): StreamSlot {
    this.held += 1;
    const lost = new AbortController();
    this.steal = () => lost.abort();
    return { lost: lost.signal, release: () => (this.held -= 1) };
  }
}

let server: Server;
let slots: FakeSlots;
let seen: number[];
let states: Connection['state'][];
let last: Connection | undefined;
let contacts: number;
let stream: LiveStream;

beforeEach(() => {
  vi.useFakeTimers();
  server = new Server();
  vi.stubGlobal('fetch', server.fetch);
  slots = new FakeSlots();
  seen = [];
  states = [];
  last = undefined;
  contacts = 0;
  const listener = {
    arrivals: (batch: Arrival[]) => {
      for (const arrival of batch) if (arrival.type === 'event') seen.push(arrival.event.seq);
    },
    connection: (connection: Connection) => {
      states.push(connection.state);
      last = connection;
    },
    contact: () => (contacts += 1),
    restart: () => {
      seen = [];
    },
  };
  stream = new LiveStream('/events', listener, slots);
  void stream.run();
});

afterEach(() => {
  stream.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const settle = () => vi.advanceTimersByTimeAsync(0);
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

test('a stream resumes after the last event, without losing or repeating one', async () => {
  server.write(event(1) + event(2) + caughtUp(2));
  await settle();
  server.cut();
  await vi.advanceTimersByTimeAsync(1_000);
  server.write(event(2) + event(3) + caughtUp(3));
  await settle();
  expect(server.requests).toEqual(['0', '2']);
  expect(seen).toEqual([1, 2, 3]);
  expect(states).toEqual(['connecting', 'live', 'lost', 'live']);
});

test('a gap makes the stream resume from the last event in order', async () => {
  server.write(event(1) + caughtUp(1));
  await settle();
  server.write(event(3));
  await vi.advanceTimersByTimeAsync(1_000);
  expect(server.requests).toEqual(['0', '1']);
  expect(seen).toEqual([1]);
});

test('a connection that is silent for too long is closed', async () => {
  server.write(caughtUp(0));
  await settle();
  await vi.advanceTimersByTimeAsync(SILENCE_TIMEOUT_MS - 1);
  expect(server.requests).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(server.requests).toHaveLength(2);
});

test('a comment keeps the connection alive', async () => {
  server.write(caughtUp(0));
  await settle();
  for (let n = 0; n < 5; n += 1) {
    await vi.advanceTimersByTimeAsync(SILENCE_TIMEOUT_MS - 1);
    server.write(': keep-alive\n\n');
    await settle();
  }
  expect(server.requests).toHaveLength(1);
});

test('retryNow connects at once during a back-off', async () => {
  for (let n = 0; n < 6; n += 1) {
    server.cut();
    await vi.advanceTimersByTimeAsync(12_000);
  }
  const before = server.requests.length;
  server.cut();
  await settle();
  expect(server.requests).toHaveLength(before);
  stream.retryNow();
  await settle();
  expect(server.requests).toHaveLength(before + 1);
});

test('retryNow keeps a connection that received bytes a moment ago', async () => {
  server.write(caughtUp(0));
  await settle();
  stream.retryNow();
  await settle();
  expect(server.requests).toHaveLength(1);
});

test('the stream ends with the incident', async () => {
  server.write(event(1, 'incident_closed'));
  await settle();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(states.at(-1)).toBe('ended');
  expect(server.requests).toHaveLength(1);
});

test('a paused stream closes its connection and resumes after the last event', async () => {
  server.write(event(1) + caughtUp(1));
  await settle();
  stream.pause();
  await pass(3_600_000);
  expect(server.requests).toHaveLength(1);
  expect(slots.held).toBe(0);
  expect(states.at(-1)).toBe('paused');
  stream.resume();
  await settle();
  server.write(event(2) + caughtUp(2));
  await settle();
  expect(server.requests).toEqual(['0', '1']);
  expect(seen).toEqual([1, 2]);
  expect(states).toEqual(['connecting', 'live', 'paused', 'live']);
});

test('a resumed stream reports that it cannot catch up at once', async () => {
  server.write(caughtUp(0));
  await settle();
  stream.pause();
  await settle();
  stream.resume();
  await pass(2_500);
  expect(last).toMatchObject({ state: 'lost', reason: 'Catching up with the server.' });
  server.write(caughtUp(0));
  await settle();
  expect(last).toEqual({ state: 'live', polled: false });
});

test('a stream without a slot polls and keeps no connection in between', async () => {
  slots.free = false;
  server.cut();
  await pass(1_000);
  server.write(event(1) + caughtUp(1));
  await settle();
  expect(last).toEqual({ state: 'live', polled: true });
  expect(slots.held).toBe(0);
  const before = server.requests.length;
  await pass(POLL_INTERVAL_MS);
  server.write(event(2) + caughtUp(2));
  await settle();
  expect(server.requests.slice(before)).toEqual(['1']);
  expect(seen).toEqual([1, 2]);
  expect(slots.held).toBe(0);
});

test('a stream gives up a slot that another tab took, and takes a free one', async () => {
  server.write(caughtUp(0));
  await settle();
  slots.free = false;
  slots.steal();
  await settle();
  server.write(caughtUp(0));
  await settle();
  expect(last).toEqual({ state: 'live', polled: true });
  slots.free = true;
  await pass(POLL_INTERVAL_MS);
  server.write(caughtUp(0));
  await settle();
  expect(last).toEqual({ state: 'live', polled: false });
  expect(states).not.toContain('lost');
});

test('the focused tab takes over a slot once', async () => {
  slots.free = false;
  server.cut();
  await pass(1_000);
  server.write(caughtUp(0));
  await settle();
  stream.prioritise();
  await settle();
  server.write(caughtUp(0));
  await settle();
  expect(last).toEqual({ state: 'live', polled: false });
  stream.prioritise();
  await settle();
  expect(slots.urgent.filter((urgent) => urgent)).toHaveLength(1);
});

const html = (status = 200) =>
  new Response('<form>Sign in</form>', { status, headers: { 'Content-Type': 'text/html' } });
/** The result of fetch for a redirect that it must not follow. */
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
])(
  '%s instead of the stream means a sign-in at the edge, and no contact with the server',
  async (_, answer) => {
    server.cut();
    await settle();
    const requests = server.requests.length;
    const before = contacts;
    server.answers.push(answer());
    await pass(1_000);
    expect(server.requests).toHaveLength(requests + 1);
    expect(last).toMatchObject({ state: 'lost', reason: 'Signed out at the edge.' });
    expect(contacts).toBe(before);
    await pass(10_000);
    expect(server.requests, 'the edge is not asked again at once').toHaveLength(requests + 1);
    await pass(10_000);
    server.write(event(1) + caughtUp(1));
    await settle();
    expect(last?.state).toBe('live');
  },
);

test('an edge that cannot reach the server is not taken for a sign-in', async () => {
  server.answers.push(html(502));
  server.cut();
  await pass(1_000);
  expect(last).toMatchObject({ state: 'lost', reason: 'The edge answered 502.' });
});

test('a stream that ends right after the replay is retried less and less often', async () => {
  const requests = () => server.requests.length;
  for (let n = 0; n < 8; n += 1) {
    server.write(caughtUp(0));
    await settle();
    server.cut();
    await pass(12_000);
  }
  const before = requests();
  server.write(caughtUp(0));
  await settle();
  server.cut();
  await pass(5_000);
  expect(requests()).toBe(before);
});

test('a connection survives a change of the device’s clock', async () => {
  server.write(caughtUp(0));
  await settle();
  vi.setSystemTime(Date.now() - 3_600_000);
  stream.retryNow();
  await settle();
  server.write(caughtUp(0));
  await settle();
  expect(last?.state).toBe('live');
  expect(seen).toEqual([]);
});
