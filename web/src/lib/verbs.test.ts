import { expect, test } from 'vitest';
import { mutatingVerb } from './verbs';

test('a mutating verb is recognised alone, with --json and through ssh', () => {
  const commands = ['cycle', ' cycle\n', 'stop --json', 'ssh pve reset', "ssh -T pve 'start'"];
  expect(commands.map(mutatingVerb)).toEqual(['cycle', 'cycle', 'stop', 'reset', 'start']);
});

test('a command that only contains a verb’s name is not a verb', () => {
  for (const command of ['status', 'systemctl stop nginx', 'ssh devvm systemctl start nginx', '']) {
    expect(mutatingVerb(command), command).toBeUndefined();
  }
});
