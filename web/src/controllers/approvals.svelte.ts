import { api, type Answer } from '../lib/http/client';
import { Problem } from '../lib/http/problem';
import type { ApprovalItem } from '../lib/timeline/items';

/** An answer to a question of the agent, from the tap until the log holds it. */
export type SentAnswer = {
  decision: Answer;
  /** `settled`: somebody else, or the end of the turn, was first. */
  phase: 'sending' | 'confirmed' | 'unconfirmed' | 'refused' | 'settled';
  message: string;
  /** What was asked, to name it when its card is gone. */
  command: string;
};

/**
 * Sends answers to the agent's questions. The questions themselves are in the log alone; an answer
 * counts once the server says that it took effect, and until then the question stays.
 */
export class Approvals {
  /** By approval. */
  sent = $state.raw<Readonly<Record<string, SentAnswer>>>({});

  #read = $state.raw<ReadonlySet<string>>(new Set());

  constructor(private readonly signedOut: () => void) {}

  async decide(
    incident: string,
    { approval, command }: ApprovalItem,
    decision: Answer,
    note?: string,
  ): Promise<void> {
    const phase = this.sent[approval]?.phase;
    if (phase === 'sending' || phase === 'confirmed') return;
    const put = (now: Pick<SentAnswer, 'phase' | 'message'>) =>
      (this.sent = { ...this.sent, [approval]: { decision, command, ...now } });
    put({ phase: 'sending', message: '' });
    try {
      await api.decide(incident, approval, decision, note?.trim() || undefined);
      put({ phase: 'confirmed', message: '' });
    } catch (error) {
      put(failure(error, decision));
      if (error instanceof Problem && error.status === 401) this.signedOut();
    }
  }

  /** Forgets what the log has answered; only what the operator has to read stays. */
  settle(open: readonly ApprovalItem[]): void {
    const asked = new Set(open.map((item) => item.approval));
    const kept = Object.entries(this.sent).filter(
      ([approval, { phase }]) => asked.has(approval) || phase === 'sending' || phase === 'settled',
    );
    if (kept.length < Object.keys(this.sent).length) this.sent = Object.fromEntries(kept);
  }

  /** Whether the operator knows that this question was not answered in time. */
  isRead(approval: string): boolean {
    return this.#read.has(approval) || approval in this.sent;
  }

  read(approval: string): void {
    this.#read = new Set([...this.#read, approval]);
  }

  dismiss(approval: string): void {
    const { [approval]: _, ...others } = this.sent;
    this.sent = others;
  }
}

function failure(error: unknown, decision: Answer): Pick<SentAnswer, 'phase' | 'message'> {
  if (!(error instanceof Problem)) {
    const word = decision === 'allow' ? 'Allow' : 'Deny';
    const message = `No answer from the server: it is not known whether “${word}” arrived. Answer again; the first answer that arrives counts.`;
    return { phase: 'unconfirmed', message };
  }
  const settled = error.status === 409 && error.field('type') === 'urn:breakglass:settled';
  return { phase: settled ? 'settled' : 'refused', message: error.message };
}
