import { expect, test, vi } from 'vitest';
import { Problem } from '../lib/http/problem';
import { Setting } from './setting.svelte';

const setting = (send: () => Promise<unknown>) => new Setting<boolean>(send, () => undefined);

test('a request is cleared only once the log shows the new value', async () => {
  const cutOff = setting(() => Promise.resolve());
  await cutOff.change('i', true);
  cutOff.confirm(false);
  expect(cutOff.request?.phase).toBe('confirmed');
  cutOff.confirm(true);
  expect(cutOff.request).toBeUndefined();
});

test('a request without an answer is reported as unknown, and the log can still confirm it', async () => {
  const cutOff = setting(() => Promise.reject(new Error('connection lost')));
  await cutOff.change('i', true);
  expect(cutOff.request?.message).toContain('it is not known whether this took effect');
  cutOff.confirm(true);
  expect(cutOff.request).toBeUndefined();
});

test('a refusal shows the server’s message until it is dismissed', async () => {
  const cutOff = setting(() => Promise.reject(new Problem(503, '', 'The log is full.', {})));
  await cutOff.change('i', true);
  expect(cutOff.request).toMatchObject({ phase: 'failed', message: 'The log is full.' });
  cutOff.dismiss();
  expect(cutOff.request).toBeUndefined();
});

test('a second tap sends nothing while the first request is running', async () => {
  const send = vi.fn(() => new Promise(() => undefined));
  const cutOff = setting(send);
  void cutOff.change('i', true);
  await cutOff.change('i', true);
  expect(send).toHaveBeenCalledOnce();
});
