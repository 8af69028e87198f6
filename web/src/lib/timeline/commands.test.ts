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
const under = (timeline: Timeline): CommandItem[] =>
  timeline.items.flatMap((item) => (item.type === 'tool' ? item.parts.filter(isCommand) : []));
const alone = (timeline: Timeline) => timeline.items.filter(isCommand);
const named = (id: string): EventBody => ({ ...command, command: id }) as EventBody;

test('a command is shown under the tool call that caused it, with all that it said', () => {
  const timeline = all(events(prompt, tool, command, printed('50 %\n'), commandDone, toolDone));
  expect(under(timeline)).toEqual([
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
  expect(alone(timeline)).toEqual([]);
});

test('commands of several tools at once go each to its own', () => {
  const other: EventBody = { ...tool, tool_call: 'u' } as EventBody;
  const its: EventBody = { ...command, command: 'd', tool_call: 'u' } as EventBody;
  const timeline = all(events(prompt, tool, other, its, command));
  const ids = timeline.items.map(
    (item) => item.type === 'tool' && item.parts.map((part) => part.command),
  );
  expect(ids.slice(1)).toEqual([['c'], ['d']]);
});

test('a command that trails its tool or outlives the turn is still completed there', () => {
  const timeline = all(events(prompt, tool, toolDone, command, ended, printed('x'), commandDone));
  expect(under(timeline)[0]).toMatchObject({ lines: [{ text: 'x' }], ended: { exitCode: 0 } });
});

test('a command without a tool call in the log stands on its own', () => {
  const stray: EventBody = { ...command, tool_call: undefined } as EventBody;
  const timeline = all(events(prompt, stray, named('d'), printed('x'), commandDone));
  expect(alone(timeline)).toHaveLength(2);
  expect(alone(timeline)[0]).toMatchObject({ lines: [{ text: 'x' }] });
});

test('a command that is not recorded says so itself', () => {
  const unrecorded = frame({ frame: 'unrecorded', at: at(1), actor: 'agent', body: command });
  const timeline = reduce(all(events(prompt, tool)), [unrecorded]);
  expect(under(timeline)).toEqual([]);
  expect(alone(timeline)[0]).toMatchObject({ recorded: false });
});

test('lines are put together from pieces, each stream for itself', () => {
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
  expect(under(all(events(tool, command, ...pieces)))[0]?.lines).toEqual([
    { stream: 'stdout', text: 'Password: ' },
    { stream: 'stdin', text: 'secret' },
    { stream: 'stderr', text: 'oh no' },
    { stream: 'stdout', text: 'a' },
    { stream: 'stdout', text: '' },
    { stream: 'stdout', text: 'bc' },
    { stream: 'stdout', text: 'd' },
  ]);
});

test('the carriage returns of a terminal are not shown, wherever a piece ends', () => {
  const pieces = [printed('a␍\nb␍'), printed('\n'), printed('c'), printed('␍\n')];
  const lines = under(all(events(tool, command, ...pieces)))[0]?.lines;
  expect(lines?.map((line) => line.text)).toEqual(['a', 'b', 'c']);
});

test('where the server or the log ended first, nothing is said to run for ever', () => {
  const gone: EventBody = { ...ended, outcome: 'interrupted' } as EventBody;
  expect(under(all(events(prompt, tool, command, gone)))[0]).toMatchObject({ abandoned: true });
  const late = all(events(prompt, tool, command, gone, commandDone));
  expect(under(late)[0]).toMatchObject({ abandoned: false, ended: { exitCode: 0 } });
  expect(under(all(events(prompt, tool, command, ended)))[0]).toMatchObject({ abandoned: false });
});

test('a page leaves room for the commands under its tools, of many for the few that show', () => {
  const many = Array.from({ length: 100 }, (_, n) => named(`c${n}`));
  const rows = (...bodies: EventBody[]) =>
    all(events(...bodies)).items.reduce((sum, item) => sum + rowsOf(item), 0);
  expect(rows(prompt, tool)).toBe(2);
  expect(rows(prompt, tool, command)).toBe(3);
  expect(rows(prompt, tool, ...many)).toBe(8);
});

test('10,000 pieces of output are read in less than a second', () => {
  const many = Array.from({ length: 10_000 }, () => printed('a line of output\n'));
  const log = events(prompt, tool, command, ...many);
  const begun = performance.now();
  expect(under(all(log))[0]?.lines).toHaveLength(10_000);
  expect(performance.now() - begun).toBeLessThan(1_000);
});
