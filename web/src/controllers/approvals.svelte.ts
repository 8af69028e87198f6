import { api, type OperatorDecision } from '../lib/http/client';
import { isSignedOut, messageOf, Problem } from '../lib/http/problem';
import type { ApprovalItem } from '../lib/timeline/items';

/** An operator's decision, from the tap until it appears in the log. */
export type SentDecision = {
  decision: OperatorDecision;
  /** `superseded`: another operator or the end of the turn decided first. */
  phase: 'sending' | 'confirmed' | 'unconfirmed' | 'refused' | 'superseded';
  message: string;
  /** The command, shown once its approval card is gone. */
  command: string;
};

/**
 * Sends decisions on the agent's approval requests. The requests themselves are kept only in the
 * log: a request stays open until the server confirms a decision.
 */
export class Approvals {
  /** By approval id. */
  sent = $state.raw<Readonly<Record<string, SentDecision>>>({});

  #dismissed = $state.raw<ReadonlySet<string>>(new Set());

  constructor(private readonly onSignedOut: () => void) {}

  async decide(
    incident: string,
    { approval, command }: ApprovalItem,
    decision: OperatorDecision,
    note?: string,
  ): Promise<void> {
    const phase = this.sent[approval]?.phase;
    if (phase === 'sending' || phase === 'confirmed') return;
    const set = (now: Pick<SentDecision, 'phase' | 'message'>) =>
      (this.sent = { ...this.sent, [approval]: { decision, command, ...now } });
    set({ phase: 'sending', message: '' });
    try {
      await api.decide(incident, approval, decision, note?.trim() || undefined);
      set({ phase: 'confirmed', message: '' });
    } catch (error) {
      set(failure(error, decision));
      if (isSignedOut(error)) this.onSignedOut();
    }
  }

  /** Drops the decisions that the log now shows. Keeps those that the operator has yet to read. */
  prune(open: readonly ApprovalItem[]): void {
    const ids = new Set(open.map((item) => item.approval));
    const kept = Object.entries(this.sent).filter(
      ([approval, { phase }]) => ids.has(approval) || phase === 'sending' || phase === 'superseded',
    );
    if (kept.length < Object.keys(this.sent).length) this.sent = Object.fromEntries(kept);
  }

  /** Whether the operator has already seen that this request expired. */
  isDismissed(approval: string): boolean {
    return this.#dismissed.has(approval) || approval in this.sent;
  }

  /** Hides the message that this request expired. */
  dismissExpired(approval: string): void {
    this.#dismissed = new Set([...this.#dismissed, approval]);
  }

  dismiss(approval: string): void {
    const { [approval]: _, ...others } = this.sent;
    this.sent = others;
  }
}

function failure(
  error: unknown,
  decision: OperatorDecision,
): Pick<SentDecision, 'phase' | 'message'> {
  if (!(error instanceof Problem)) {
    const label = decision === 'allow' ? 'Allow' : 'Deny';
    const message = `No answer from the server: it is not known whether “${label}” arrived. Decide again; the first decision that arrives counts.`;
    return { phase: 'unconfirmed', message };
  }
  const superseded = error.status === 409 && error.field('type') === 'urn:breakglass:settled';
  return { phase: superseded ? 'superseded' : 'refused', message: messageOf(error) };
}
