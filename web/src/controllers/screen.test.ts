import { expect, test, vi } from 'vitest';
import { Problem } from '../lib/http/problem';
import { Screen } from './screen.svelte';

const PICTURE = 'data:image/png;base64,AA==';

test('a look shows when the picture came', async () => {
  const screen = new Screen(
    () => Promise.resolve(PICTURE),
    () => undefined,
  );
  expect(screen.of('devvm')).toBeUndefined();
  const looking = screen.look('devvm');
  expect(screen.of('devvm')?.loading).toBe(true);
  await looking;
  expect(screen.of('devvm')).toMatchObject({ loading: false, picture: PICTURE, message: '' });
  expect(screen.of('devvm')?.at).toBeTypeOf('number');
  expect(screen.of('other')).toBeUndefined();
});

test('where there is none the gate’s sentence says why, and the last picture stays', async () => {
  const fetch = vi.fn(() => Promise.resolve(PICTURE));
  const screen = new Screen(fetch, () => undefined);
  await screen.look('devvm');
  fetch.mockRejectedValueOnce(new Problem(409, '', 'The guest is off.', {}));
  await screen.look('devvm');
  expect(screen.of('devvm')).toMatchObject({ message: 'The guest is off.', picture: PICTURE });
  fetch.mockRejectedValueOnce(new Error('the line is dead'));
  await screen.look('devvm');
  expect(screen.of('devvm')?.message).toContain('No picture came');
});

test('a second tap asks for nothing while the first is on its way', async () => {
  const fetch = vi.fn(() => new Promise<string>(() => undefined));
  const screen = new Screen(fetch, () => undefined);
  void screen.look('devvm');
  await screen.look('devvm');
  expect(fetch).toHaveBeenCalledOnce();
});

test('a picture that comes late is not shown for another machine', async () => {
  let arrive: (picture: string) => void = () => undefined;
  const slow = new Promise<string>((resolve) => (arrive = resolve));
  const fetch = vi.fn((target: string) => (target === 'old' ? slow : Promise.resolve(PICTURE)));
  const screen = new Screen(fetch, () => undefined);
  const late = screen.look('old');
  await screen.look('new');
  arrive('data:late');
  await late;
  expect(screen.of('old')).toBeUndefined();
  expect(screen.of('new')?.picture).toBe(PICTURE);
});
