import { expect, test, vi } from 'vitest';
import { Problem } from '../lib/http/problem';
import { Setting } from './setting.svelte';

const setting = (send: () => Promise<unknown>) => new Setting<boolean>(send, () => undefined);

test('a wish goes once the log shows that it holds, not before', async () => {
  const cutOff = setting(() => Promise.resolve());
  await cutOff.ask('i', true);
  cutOff.settle(false);
  expect(cutOff.asked?.phase).toBe('confirmed');
  cutOff.settle(true);
  expect(cutOff.asked).toBeUndefined();
});

test('a wish without an answer says that it is not known, and the log may still fulfil it', async () => {
  const cutOff = setting(() => Promise.reject(new Error('the line is dead')));
  await cutOff.ask('i', true);
  expect(cutOff.asked?.message).toContain('it is not known whether this took effect');
  cutOff.settle(true);
  expect(cutOff.asked).toBeUndefined();
});

test('a refusal is shown in the server’s words until it is dismissed', async () => {
  const cutOff = setting(() => Promise.reject(new Problem(503, '', 'The log is full.', {})));
  await cutOff.ask('i', true);
  expect(cutOff.asked).toMatchObject({ phase: 'failed', message: 'The log is full.' });
  cutOff.dismiss();
  expect(cutOff.asked).toBeUndefined();
});

test('a second tap sends nothing while the first is on its way', async () => {
  const send = vi.fn(() => new Promise(() => undefined));
  const cutOff = setting(send);
  void cutOff.ask('i', true);
  await cutOff.ask('i', true);
  expect(send).toHaveBeenCalledOnce();
});
