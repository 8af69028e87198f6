import { expect, test } from 'vitest';
import { SseParser } from './sse';

const stream =
  'id: 1\nevent: prompt\ndata: {"seq":1}\n\n: keep-alive\n\nevent: caught-up\ndata: {"seq":1}\r\n\r\ndata: a\ndata: b\n\n';

test('a stream split anywhere gives the same messages', () => {
  const whole = new SseParser().push(stream);
  expect(whole).toEqual([
    { id: '1', event: 'prompt', data: '{"seq":1}' },
    { id: undefined, event: 'caught-up', data: '{"seq":1}' },
    { id: undefined, event: 'message', data: 'a\nb' },
  ]);
  for (let cut = 0; cut <= stream.length; cut += 1) {
    const parser = new SseParser();
    const parts = [...parser.push(stream.slice(0, cut)), ...parser.push(stream.slice(cut))];
    expect(parts, `cut at ${cut}`).toEqual(whole);
  }
});

test('a message without its empty line is not returned', () => {
  expect(new SseParser().push('id: 7\ndata: {}\n')).toEqual([]);
});

test('an id belongs only to its own message', () => {
  const messages = new SseParser().push('id: 7\ndata: a\n\ndata: b\n\n');
  expect(messages.map((message) => message.id)).toEqual(['7', undefined]);
});
