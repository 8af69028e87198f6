// Approval requests in the timeline: open, decided, void and expired. Leaves sending decisions to
// controllers/approvals.test.
import { expect, test } from 'vitest';
import type { EventBody } from '../api/EventBody';
import type { ApprovalItem, Item, Timeline } from './items';
import { announcement, expiredApprovals, openApprovals, outcomeOf } from './select';
import { all, approvalRequest, at, command, ended, events, prompt, tool } from './testing';

const decided = (decision: 'allow' | 'deny' | 'void', note?: string): EventBody => ({
  kind: 'approval_decided',
  approval: 'a',
  decision,
  note,
});
const until = (seq: number) => ({ expires_at: at(seq) });
const isApproval = (item: Item): item is ApprovalItem => item.type === 'approval';
const approvalOf = (timeline: Timeline) => timeline.items.find(isApproval);

test('an approval request is open until the log records a decision', () => {
  const other: EventBody = { ...approvalRequest, approval: 'b' } as EventBody;
  const ids = (...bodies: EventBody[]) =>
    openApprovals(all(events(...bodies))).map((item) => item.approval);
  expect(ids(prompt, approvalRequest, other)).toEqual(['a', 'b']);
  expect(ids(prompt, approvalRequest, other, decided('allow'))).toEqual(['b']);
});

test('a decided request names the operator and the decision', () => {
  const timeline = all(events(prompt, approvalRequest, decided('deny', 'Not tonight.')));
  expect(approvalOf(timeline)).toMatchObject({
    command: 'cycle',
    decided: { note: 'Not tonight.' },
  });
  expect(outcomeOf({ ...approvalOf(timeline)!, decided: undefined })).toBe('');
  const by = { actor: 'operator:mia' } as const;
  const words = (['allow', 'deny', 'void'] as const).map((decision) =>
    outcomeOf({ ...approvalOf(timeline)!, decided: { decision, ...by } }),
  );
  expect(words).toEqual(['Allowed by mia.', 'Denied by mia.', 'Void: not run.']);
});

test('a request is a part of its tool call, before the command that it allowed', () => {
  const ofTool: EventBody = { ...approvalRequest, tool_call: 't' } as EventBody;
  const waiting = all(events(prompt, tool, ofTool));
  expect(waiting.items).toHaveLength(2);
  expect(openApprovals(waiting)).toMatchObject([{ approval: 'a' }]);
  const timeline = all(events(prompt, tool, ofTool, decided('allow'), command));
  expect(openApprovals(timeline)).toEqual([]);
  expect(timeline.items[1]).toMatchObject({
    parts: [{ type: 'approval', decided: { decision: 'allow' } }, { type: 'command' }],
  });
  expect(announcement(timeline.items)).toBe('Allowed by system.');
});

test('the end of a turn voids its open requests, and a later event replaces that', () => {
  const over = all(events(prompt, approvalRequest, ended));
  expect(openApprovals(over)).toEqual([]);
  expect(approvalOf(over)).toMatchObject({ decided: { decision: 'void' } });
  const late = all(
    events(prompt, approvalRequest, ended, decided('void', 'The turn was stopped.')),
  );
  expect(approvalOf(late)).toMatchObject({ decided: { note: 'The turn was stopped.' } });
});

test('the last change of autonomy and of the cut-off applies, and each adds a note', () => {
  const autonomyChanged = (autonomy: 'autonomous' | 'read-only'): EventBody => ({
    kind: 'autonomy_changed',
    autonomy,
  });
  const cutOffChanged = (cut_off: boolean): EventBody => ({ kind: 'cut_off_changed', cut_off });
  expect(all(events(prompt)).autonomy).toBeUndefined();
  expect(all(events(prompt)).cutOff).toBe(false);
  const timeline = all(
    events(autonomyChanged('autonomous'), cutOffChanged(true), autonomyChanged('read-only')),
  );
  expect(timeline).toMatchObject({ autonomy: 'read-only', cutOff: true });
  const notes = timeline.items.map((item) => item.type === 'note' && item.text);
  expect(notes[1]).toMatch(
    /^The agent is cut off: its commands reach neither the guest nor the host/,
  );
  expect(all(events(cutOffChanged(true), cutOffChanged(false))).cutOff).toBe(false);
});

test('an expired request is listed until the next prompt', () => {
  const limited = { ...approvalRequest, ...until(4) };
  const note: EventBody = { kind: 'notice', level: 'info', code: 'n', message: '' };
  const over = [prompt, limited, note, decided('void')];
  const timeline = all(events(...over));
  expect(approvalOf(timeline)?.expiresAt).toBe(at(4));
  expect(outcomeOf(approvalOf(timeline)!)).toBe('Not run: no decision within 2 s.');
  expect(expiredApprovals(timeline)).toMatchObject([{ approval: 'a' }]);
  expect(expiredApprovals(all(events(...over, ended)))).toHaveLength(1);
  expect(expiredApprovals(all(events(...over, ended, prompt)))).toEqual([]);
});

test('a request voided before its time limit, or without one, is not expired', () => {
  const limited = { ...approvalRequest, ...until(120) };
  for (const one of [limited, approvalRequest]) {
    const timeline = all(events(prompt, one, decided('void')));
    expect(outcomeOf(approvalOf(timeline)!)).toBe('Void: not run.');
    expect(expiredApprovals(timeline)).toEqual([]);
  }
});

test('an expired request in a tool call is listed', () => {
  const limited = { ...approvalRequest, tool_call: 't', ...until(4) };
  const timeline = all(events(prompt, tool, limited, decided('void')));
  expect(expiredApprovals(timeline)).toHaveLength(1);
});
