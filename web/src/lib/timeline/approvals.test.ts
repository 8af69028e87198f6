import { expect, test } from 'vitest';
import type { EventBody } from '../api/EventBody';
import type { ApprovalItem, Item, Timeline } from './items';
import { announcement, openApprovals, settlement } from './select';
import { all, command, ended, events, prompt, question, tool } from './testing';

const decided = (decision: 'allow' | 'deny' | 'void', note?: string): EventBody => ({
  kind: 'approval_decided',
  approval: 'a',
  decision,
  note,
});
const isQuestion = (item: Item): item is ApprovalItem => item.type === 'approval';
const asked = (timeline: Timeline) => timeline.items.find(isQuestion);

test('a question is open until the log says how it was settled', () => {
  const other: EventBody = { ...question, approval: 'b' } as EventBody;
  const ids = (...bodies: EventBody[]) =>
    openApprovals(all(events(...bodies))).map((item) => item.approval);
  expect(ids(prompt, question, other)).toEqual(['a', 'b']);
  expect(ids(prompt, question, other, decided('allow'))).toEqual(['b']);
});

test('a settled question says who decided what', () => {
  const timeline = all(events(prompt, question, decided('deny', 'Not tonight.')));
  expect(asked(timeline)).toMatchObject({ command: 'cycle', decided: { note: 'Not tonight.' } });
  expect(settlement({ ...asked(timeline)!, decided: undefined })).toBe('');
  const by = { actor: 'operator:mia' } as const;
  const words = (['allow', 'deny', 'void'] as const).map((decision) =>
    settlement({ ...asked(timeline)!, decided: { decision, ...by } }),
  );
  expect(words).toEqual(['Allowed by mia.', 'Denied by mia.', 'Void: it was not run.']);
});

test('a question of a tool call stands under it, before the command that it allowed', () => {
  const its: EventBody = { ...question, tool_call: 't' } as EventBody;
  const waiting = all(events(prompt, tool, its));
  expect(waiting.items).toHaveLength(2);
  expect(openApprovals(waiting)).toMatchObject([{ approval: 'a' }]);
  const timeline = all(events(prompt, tool, its, decided('allow'), command));
  expect(openApprovals(timeline)).toEqual([]);
  expect(timeline.items[1]).toMatchObject({
    parts: [{ type: 'approval', decided: { decision: 'allow' } }, { type: 'command' }],
  });
  expect(announcement(timeline.items)).toBe('Allowed by system.');
});

test('the end of a turn leaves no question open, and the log still has the last word', () => {
  const over = all(events(prompt, question, ended));
  expect(openApprovals(over)).toEqual([]);
  expect(asked(over)).toMatchObject({ decided: { decision: 'void' } });
  const late = all(events(prompt, question, ended, decided('void', 'The turn was stopped.')));
  expect(asked(late)).toMatchObject({ decided: { note: 'The turn was stopped.' } });
});

test('the last change of autonomy and of the cut-off holds, and each leaves a note', () => {
  const may = (autonomy: 'autonomous' | 'read-only'): EventBody => ({
    kind: 'autonomy_changed',
    autonomy,
  });
  const cut = (cut_off: boolean): EventBody => ({ kind: 'cut_off_changed', cut_off });
  expect(all(events(prompt)).autonomy).toBeUndefined();
  expect(all(events(prompt)).cutOff).toBe(false);
  const timeline = all(events(may('autonomous'), cut(true), may('read-only')));
  expect(timeline).toMatchObject({ autonomy: 'read-only', cutOff: true });
  const notes = timeline.items.map((item) => item.type === 'note' && item.text);
  expect(notes[1]).toMatch(/^The agent is cut off: no command of it reaches guest or host/);
  expect(all(events(cut(true), cut(false))).cutOff).toBe(false);
});
