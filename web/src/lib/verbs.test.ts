import { expect, test } from 'vitest';
import { mutatingVerb } from './verbs';

test('a mutating verb is known alone, with its suffix and through ssh', () => {
  const commands = ['cycle', ' cycle\n', 'stop --json', 'ssh pve reset', "ssh -T pve 'start'"];
  expect(commands.map(mutatingVerb)).toEqual(['cycle', 'cycle', 'stop', 'reset', 'start']);
});

test('what only contains such a word is an ordinary command', () => {
  for (const command of ['status', 'systemctl stop nginx', 'ssh devvm systemctl start nginx', '']) {
    expect(mutatingVerb(command), command).toBeUndefined();
  }
});
