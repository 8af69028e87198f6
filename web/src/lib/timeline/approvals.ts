import type { Draft, Of, Origin } from './draft';
import { beginPart, updatePart, updateParts } from './parts';

export function applyApproval(
  draft: Draft,
  from: Origin,
  body: Of<'approval_requested' | 'approval_decided'>,
): void {
  if (body.kind === 'approval_requested') {
    const { approval, turn, place, command, touches, tool_call, expires_at: expiresAt } = body;
    const asked = { approval, turn, place, command, touches, expiresAt };
    const question = { type: 'approval' as const, ...asked };
    return beginPart(draft, tool_call, { ...from, ...question });
  }
  const key = `approval:${body.approval}`;
  const { decision, note } = body;
  const decided = { decision, note, actor: from.actor, at: from.at };
  updatePart(draft, key, 'approval', (item) => ({ ...item, decided }));
  draft.open.delete(key);
}

/**
 * What a turn asked is void once it has ended. The log says so itself, but for a server that
 * ended first; a word of the log that still comes replaces this.
 */
export function voidApprovals(draft: Draft, from: Origin): void {
  const decided = { decision: 'void' as const, actor: from.actor, at: from.at };
  updateParts(draft, 'approval', (item) => (item.decided ? item : { ...item, decided }));
}
