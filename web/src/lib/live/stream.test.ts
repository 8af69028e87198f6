import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Arrival } from './decode';
import { LiveStream, SILENCE_MS, type Connection } from './stream';

const event = (seq: number, kind = 'notice') =>
  `id: ${seq}\nevent: ${kind}\ndata: ${JSON.stringify({ seq, kind })}\n\n`;
const caughtUp = (seq: number) => `event: caught-up\ndata: {"seq":${seq}}\n\n`;

/** A server whose connections the test writes and cuts by hand. */
class Server {
  readonly asked: string[] = [];
  #pipes: ReadableStreamDefaultController<Uint8Array>[] = [];

  fetch = (_url: string, init: RequestInit): Promise<Response> => {
    this.asked.push(new Headers(init.headers).get('Last-Event-ID') ?? '');
    const body = new ReadableStream<Uint8Array>({
      start: (pipe) => {
        this.#pipes.push(pipe);
        init.signal?.addEventListener('abort', () => pipe.error(new Error('aborted')));
      },
    });
    return Promise.resolve(new Response(body));
  };

  write(text: string): void {
    this.#pipes.at(-1)?.enqueue(new TextEncoder().encode(text));
  }

  cut(): void {
    this.#pipes.at(-1)?.close();
  }
}

let server: Server;
let seen: number[];
let states: Connection['state'][];
let stream: LiveStream;

beforeEach(() => {
  vi.useFakeTimers();
  server = new Server();
  vi.stubGlobal('fetch', server.fetch);
  seen = [];
  states = [];
  stream = new LiveStream('/events', {
    arrivals: (batch: Arrival[]) => {
      for (const arrival of batch) if (arrival.type === 'event') seen.push(arrival.event.seq);
    },
    connection: ({ state }) => states.push(state),
    heard: () => undefined,
    restart: () => {
      seen = [];
    },
  });
  void stream.run();
});

afterEach(() => {
  stream.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const settle = () => vi.advanceTimersByTimeAsync(0);

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
