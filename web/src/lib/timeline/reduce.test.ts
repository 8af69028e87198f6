// Building a timeline from events: batches, turns, verbs, findings and unrecorded events. Leaves
// commands and approval requests to tests of their own.
import { expect, test } from 'vitest';
import type { EventBody } from '../api/EventBody';
import { emptyTimeline } from './items';
import { reduce } from './reduce';
import { announcement, currentFinding, degraded, runningVerbs } from './select';
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
  approvalRequest,
  tool,
  toolDone,
} from './testing';

const opened: EventBody = { kind: 'incident_opened', target: 'devvm', drill: true };
const verb: EventBody = { kind: 'verb_started', operation: 'o', target: 'devvm', verb: 'cycle' };
const verbLine: EventBody = { kind: 'verb_output', operation: 'o', stream: 'stdout', line: 'x' };
const verbDone: EventBody = {
  kind: 'verb_finished',
  operation: 'o',
  target: 'devvm',
  verb: 'cycle',
  outcome: 'done',
  verdict: 'running',
  message: 'The guest runs.',
  duration_ms: 5,
  omitted_lines: 0,
};
const finding: EventBody = { kind: 'finding', signature: 's', summary: 'Stall', evidence: [] };

test('batches of any size give the same timeline', () => {
  const log = events(
    opened,
    prompt,
    tool,
    command,
    printed('Filesys'),
    verb,
    verbLine,
    printed('tem\n/dev/vda'),
    approvalRequest,
    commandDone,
    toolDone,
    verbDone,
    ended,
  );
  const once = all(log);
  for (let size = 1; size < log.length; size += 1) {
    let timeline = emptyTimeline;
    for (let start = 0; start < log.length; start += size) {
      timeline = reduce(timeline, log.slice(start, start + size));
    }
    expect(timeline).toEqual(once);
  }
});

test('applying a batch does not change the earlier timeline', () => {
  const log = events(opened, verb, prompt, tool, command, printed('a'), verbLine, printed('b\n'));
  const before = reduce(emptyTimeline, log.slice(0, 6));
  const copy = structuredClone(before);
  reduce(before, log.slice(6));
  expect(before).toEqual(copy);
});

test('a tool call has its whole command and, once it ended, its output', () => {
  const running = all(events(prompt, tool));
  expect(running.items[1]).toMatchObject({ command: 'ssh devvm df -h', output: '' });
  const done = all(events(prompt, tool, toolDone));
  expect(done.items[1]).toMatchObject({ output: 'full', failed: false, endedAt: at(3) });
});

test('a tool call that runs when its turn ends is abandoned', () => {
  expect(all(events(prompt, tool, ended)).items[1]).toMatchObject({ abandoned: true });
});

test('typed text grows until the finished text replaces it', () => {
  const typing = [
    frame({ frame: 'text_snapshot', turn: 1, text: 'The ' }),
    frame({ frame: 'text_delta', turn: 1, text: 'disk' }),
  ];
  const before = reduce(all(events(prompt)), typing);
  expect(before.typing).toEqual({ turn: 1, text: 'The disk' });
  const text: EventBody = { kind: 'text', turn: 1, text: 'The disk is full.' };
  const after = reduce(before, events(prompt, text).slice(1));
  expect(after.typing).toBeUndefined();
  expect(after.items.at(-1)).toMatchObject({ type: 'text', text: 'The disk is full.' });
});

test('a turn runs from its prompt to its end', () => {
  expect(all(events(prompt)).turn).toMatchObject({ turn: 1, started: false });
  expect(all(events(prompt, ended)).turn).toBeUndefined();
});

test('a verb’s lines and verdict are in one item', () => {
  const timeline = all(events(verb, verbLine, verbDone));
  expect(timeline.items).toHaveLength(1);
  expect(timeline.items[0]).toMatchObject({
    lines: [{ stream: 'stdout', text: 'x' }],
    ended: { outcome: 'done', verdict: 'running' },
  });
  expect(runningVerbs(timeline)).toEqual([]);
  expect(runningVerbs(all(events(verb)))).toHaveLength(1);
  expect(announcement(timeline.items)).toBe('The guest runs.');
});

test('a verb knows whether a screenshot is saved', () => {
  const withScreenshot: EventBody = { ...verbDone, picture: true };
  expect(all(events(verb, withScreenshot)).items[0]).toMatchObject({ ended: { screenshot: true } });
  expect(all(events(verb, verbDone)).items[0]).toMatchObject({ ended: { screenshot: false } });
});

test('a verb without a start still shows its end', () => {
  expect(all(events(verbDone)).items[0]).toMatchObject({ type: 'verb', verb: 'cycle' });
});

test('unrecorded events are marked as not recorded', () => {
  const unrecorded = (body: EventBody) =>
    frame({ frame: 'unrecorded', at: at(1), actor: 'system', body });
  const timeline = all([unrecorded(verb), unrecorded(verbLine), unrecorded(verbDone)]);
  expect(timeline.items).toHaveLength(1);
  expect(timeline.items[0]).toMatchObject({ recorded: false, ended: { outcome: 'done' } });
  expect(degraded(timeline.items)).toBe(true);
});

test('a restored log is not degraded', () => {
  const notice = (code: string): EventBody => ({
    kind: 'notice',
    level: 'info',
    code,
    message: '',
  });
  const items = all(events(notice('record_degraded'), notice('record_restored'))).items;
  expect(degraded(items)).toBe(false);
});

test('a finding is current until a mutating verb or the same diagnosis ran', () => {
  const found: EventBody = { ...finding, check: 'disk' };
  const checked: EventBody = {
    kind: 'check_finished',
    check: 'disk',
    level: 'info',
    summary: '',
    evidence: '',
  };
  expect(currentFinding(all(events(checked, found)))?.summary).toBe('Stall');
  expect(currentFinding(all(events(found, verb, verbDone)))).toBeUndefined();
  expect(currentFinding(all(events(found, checked)))).toBeUndefined();
});

test('a past finding from vital signs is not current', () => {
  expect(currentFinding(all(events(finding)))).toBeUndefined();
});
