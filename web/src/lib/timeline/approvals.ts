import { begin, finish, openKeys, update, type Draft, type Of, type Origin } from './draft';

export function applyApproval(
  draft: Draft,
  from: Origin,
  body: Of<'approval_requested' | 'approval_decided'>,
): void {
  const key = `approval:${body.approval}`;
  if (body.kind === 'approval_requested') {
    const { approval, turn, place, command, touches } = body;
    const item = { ...from, type: 'approval' as const, approval, turn, place, command, touches };
    return begin(draft, key, item);
  }
  const { decision, note } = body;
  const decided = { decision, note, actor: from.actor, at: from.at };
  finish(draft, key, 'approval', (item) => ({ ...item, decided }));
}

/**
 * What a turn asked is void once it has ended. The log says so itself, but for a server that
 * ended first; a word of the log that still comes replaces this.
 */
export function voidApprovals(draft: Draft, from: Origin): void {
  const decided = { decision: 'void' as const, actor: from.actor, at: from.at };
  for (const key of openKeys(draft, 'approval')) {
    update(draft, key, 'approval', (item) => (item.decided ? item : { ...item, decided }));
  }
}
