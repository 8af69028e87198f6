// Commands as parts of their tool calls, and how their output is joined to lines. Leaves other
// events to reduce.test.
import { expect, test } from 'vitest';
import type { EventBody } from '../api/EventBody';
import type { CommandItem, Item, Timeline } from './items';
import { rowsOf } from './pages';
import { reduce } from './reduce';
import {
  all,
  at,
  command,
  commandDone,
  ended,
  events,
  frame,
  printed,
  prompt,
  tool,
  toolDone,
} from './testing';

const isCommand = (item: Item): item is CommandItem => item.type === 'command';
const inTools = (timeline: Timeline): CommandItem[] =>
  timeline.items.flatMap((item) => (item.type === 'tool' ? item.parts.filter(isCommand) : []));
const standalone = (timeline: Timeline) => timeline.items.filter(isCommand);
const named = (id: string): EventBody => ({ ...command, command: id }) as EventBody;

test('a command is a part of its tool call, with its output', () => {
  const timeline = all(events(prompt, tool, command, printed('50 %\n'), commandDone, toolDone));
  expect(inTools(timeline)).toEqual([
    {
      id: 'e3',
      at: at(3),
      actor: 'system',
      recorded: true,
      type: 'command',
      command: 'c',
      host: 'devvm',
      mode: 'exec',
      text: 'df -h',
      lines: [{ stream: 'stdout', text: '50 %' }],
      partial: false,
      abandoned: false,
      ended: { exitCode: 0, durationMs: 5, omittedBytes: 0 },
    },
  ]);
  expect(standalone(timeline)).toEqual([]);
});

test('commands of concurrent tool calls are parts of their own call', () => {
  const other: EventBody = { ...tool, tool_call: 'u' } as EventBody;
  const ofOther: EventBody = { ...command, command: 'd', tool_call: 'u' } as EventBody;
  const timeline = all(events(prompt, tool, other, ofOther, command));
  const ids = timeline.items.map(
    (item) => item.type === 'tool' && item.parts.map((part) => part.command),
  );
  expect(ids.slice(1)).toEqual([['c'], ['d']]);
});

test('a command that ends after its tool call or turn is completed in its tool call', () => {
  const timeline = all(events(prompt, tool, toolDone, command, ended, printed('x'), commandDone));
  expect(inTools(timeline)[0]).toMatchObject({ lines: [{ text: 'x' }], ended: { exitCode: 0 } });
});

test('a command without a tool call is an item', () => {
  const stray: EventBody = { ...command, tool_call: undefined } as EventBody;
  const timeline = all(events(prompt, stray, named('d'), printed('x'), commandDone));
  expect(standalone(timeline)).toHaveLength(2);
  expect(standalone(timeline)[0]).toMatchObject({ lines: [{ text: 'x' }] });
});

test('an unrecorded command is an item', () => {
  const unrecorded = frame({ frame: 'unrecorded', at: at(1), actor: 'agent', body: command });
  const timeline = reduce(all(events(prompt, tool)), [unrecorded]);
  expect(inTools(timeline)).toEqual([]);
  expect(standalone(timeline)[0]).toMatchObject({ recorded: false });
});

test('lines are joined from pieces of the same stream', () => {
  const pieces = [
    printed('Pass'),
    printed('word: '),
    printed('secret\n', 'stdin'),
    printed('oh', 'stderr'),
    printed(' no\n', 'stderr'),
    printed('a\n\nb'),
    printed(''),
    printed('c\n'),
    printed('d\n'),
  ];
  expect(inTools(all(events(tool, command, ...pieces)))[0]?.lines).toEqual([
    { stream: 'stdout', text: 'Password: ' },
    { stream: 'stdin', text: 'secret' },
    { stream: 'stderr', text: 'oh no' },
    { stream: 'stdout', text: 'a' },
    { stream: 'stdout', text: '' },
    { stream: 'stdout', text: 'bc' },
    { stream: 'stdout', text: 'd' },
  ]);
});

test('carriage returns of a terminal are removed, wherever a piece ends', () => {
  const pieces = [printed('a␍\nb␍'), printed('\n'), printed('c'), printed('␍\n')];
  const lines = inTools(all(events(tool, command, ...pieces)))[0]?.lines;
  expect(lines?.map((line) => line.text)).toEqual(['a', 'b', 'c']);
});

test('a command is abandoned if its turn was interrupted before its end', () => {
  const gone: EventBody = { ...ended, outcome: 'interrupted' } as EventBody;
  expect(inTools(all(events(prompt, tool, command, gone)))[0]).toMatchObject({ abandoned: true });
  const late = all(events(prompt, tool, command, gone, commandDone));
  expect(inTools(late)[0]).toMatchObject({ abandoned: false, ended: { exitCode: 0 } });
  expect(inTools(all(events(prompt, tool, command, ended)))[0]).toMatchObject({ abandoned: false });
});

test('the height of a tool call counts only the parts that are shown at first', () => {
  const many = Array.from({ length: 100 }, (_, n) => named(`c${n}`));
  const rows = (...bodies: EventBody[]) =>
    all(events(...bodies)).items.reduce((sum, item) => sum + rowsOf(item), 0);
  expect(rows(prompt, tool)).toBe(2);
  expect(rows(prompt, tool, command)).toBe(3);
  expect(rows(prompt, tool, ...many)).toBe(8);
});

test('10,000 pieces of output are applied within a second', () => {
  const many = Array.from({ length: 10_000 }, () => printed('a line of output\n'));
  const log = events(prompt, tool, command, ...many);
  const startedAt = performance.now();
  expect(inTools(all(log))[0]?.lines).toHaveLength(10_000);
  expect(performance.now() - startedAt).toBeLessThan(1_000);
});
