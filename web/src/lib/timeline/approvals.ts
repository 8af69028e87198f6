import type { BodyOf, Draft, Origin } from './draft';
import { addOpenPart, updatePart, updateParts } from './parts';

export function applyApproval(
  draft: Draft,
  from: Origin,
  body: BodyOf<'approval_requested' | 'approval_decided'>,
): void {
  if (body.kind === 'approval_requested') {
    const { approval, turn, place, command, touches, tool_call, expires_at: expiresAt } = body;
    const request = { approval, turn, place, command, touches, expiresAt };
    return addOpenPart(draft, tool_call, { ...from, type: 'approval', ...request });
  }
  const key = `approval:${body.approval}`;
  const { decision, note } = body;
  const decided = { decision, note, actor: from.actor, at: from.at };
  updatePart(draft, key, 'approval', (item) => ({ ...item, decided }));
  draft.open.delete(key);
}

/**
 * Voids the open approval requests of a turn that ended. The log has an event for each, unless the
 * server ended first. An event that comes later replaces this decision.
 */
export function voidApprovals(draft: Draft, from: Origin): void {
  const decided = { decision: 'void' as const, actor: from.actor, at: from.at };
  updateParts(draft, 'approval', (item) => (item.decided ? item : { ...item, decided }));
}
