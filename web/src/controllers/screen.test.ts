import { expect, test, vi } from 'vitest';
import { Problem } from '../lib/http/problem';
import { Screen } from './screen.svelte';

const IMAGE = 'data:image/png;base64,AA==';

test('a screenshot has the time at which it arrived', async () => {
  const screen = new Screen(
    () => Promise.resolve(IMAGE),
    () => undefined,
  );
  expect(screen.of('devvm')).toBeUndefined();
  const capturing = screen.capture('devvm');
  expect(screen.of('devvm')?.loading).toBe(true);
  await capturing;
  expect(screen.of('devvm')).toMatchObject({ loading: false, src: IMAGE, message: '' });
  expect(screen.of('devvm')?.at).toBeTypeOf('number');
  expect(screen.of('other')).toBeUndefined();
});

test('a failure shows the gate’s message and keeps the last screenshot', async () => {
  const fetch = vi.fn(() => Promise.resolve(IMAGE));
  const screen = new Screen(fetch, () => undefined);
  await screen.capture('devvm');
  fetch.mockRejectedValueOnce(new Problem(409, '', 'The guest is off.', {}));
  await screen.capture('devvm');
  expect(screen.of('devvm')).toMatchObject({ message: 'The guest is off.', src: IMAGE });
  fetch.mockRejectedValueOnce(new Error('connection lost'));
  await screen.capture('devvm');
  expect(screen.of('devvm')?.message).toContain('sent no screenshot');
});

test('a second tap requests nothing while the first request is running', async () => {
  const fetch = vi.fn(() => new Promise<string>(() => undefined));
  const screen = new Screen(fetch, () => undefined);
  void screen.capture('devvm');
  await screen.capture('devvm');
  expect(fetch).toHaveBeenCalledOnce();
});

test('a late screenshot is not shown for another target', async () => {
  let respond: (image: string) => void = () => undefined;
  const slow = new Promise<string>((resolve) => (respond = resolve));
  const fetch = vi.fn((target: string) => (target === 'old' ? slow : Promise.resolve(IMAGE)));
  const screen = new Screen(fetch, () => undefined);
  const late = screen.capture('old');
  await screen.capture('new');
  respond('data:late');
  await late;
  expect(screen.of('old')).toBeUndefined();
  expect(screen.of('new')?.src).toBe(IMAGE);
});
