import { expect, test } from 'vitest';
import type { EventBody } from '../api/EventBody';
import type { ApprovalItem, Item, Timeline } from './items';
import { announcement, lapsedApprovals, openApprovals, settlement } from './select';
import { all, at, command, ended, events, prompt, question, tool } from './testing';

const decided = (decision: 'allow' | 'deny' | 'void', note?: string): EventBody => ({
  kind: 'approval_decided',
  approval: 'a',
  decision,
  note,
});
const until = (seq: number) => ({ expires_at: at(seq) });
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

test('a question that was not answered in time says so until the agent is asked something else', () => {
  const limited = { ...question, ...until(4) };
  const note: EventBody = { kind: 'notice', level: 'info', code: 'n', message: '' };
  const over = [prompt, limited, note, decided('void')];
  const timeline = all(events(...over));
  expect(asked(timeline)?.expiresAt).toBe(at(4));
  expect(settlement(asked(timeline)!)).toBe('Not run: not answered in 2 s.');
  expect(lapsedApprovals(timeline)).toMatchObject([{ approval: 'a' }]);
  expect(lapsedApprovals(all(events(...over, ended)))).toHaveLength(1);
  expect(lapsedApprovals(all(events(...over, ended, prompt)))).toEqual([]);
});

test('a question that was stopped long before its limit is void, and so is one without a limit', () => {
  const limited = { ...question, ...until(120) };
  for (const one of [limited, question]) {
    const timeline = all(events(prompt, one, decided('void')));
    expect(settlement(asked(timeline)!)).toBe('Void: it was not run.');
    expect(lapsedApprovals(timeline)).toEqual([]);
  }
});

test('a question that lapsed inside a tool call is found too', () => {
  const limited = { ...question, tool_call: 't', ...until(4) };
  const timeline = all(events(prompt, tool, limited, decided('void')));
  expect(lapsedApprovals(timeline)).toHaveLength(1);
});
