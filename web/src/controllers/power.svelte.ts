/*
 * Owns the actions that the operator has sent (verbs and checks) until the server accepts them,
 * and the output of operations that no incident's log could record. Leaves the output of recorded
 * operations to the timeline. Each action carries an idempotency key, so sending it again runs it
 * at most once. The page never sends one again by itself.
 */
import type { OperationView } from '../lib/api/OperationView';
import { api } from '../lib/http/client';
import { newKey } from '../lib/http/key';
import { SignedOutAtEdge } from '../lib/http/edge';
import { Problem } from '../lib/http/problem';
import { resendTimeLeft, sentNow, type SentAt } from './resend-window';

/** An action that the server has not accepted yet. */
export type PendingAction = {
  /** The idempotency key. */
  key: string;
  target: string;
  kind: 'verb' | 'check';
  name: string;
  mutating: boolean;
  /** The incident that records it. Undefined: the server chooses or opens one. */
  incident?: string;
  sent: SentAt;
  phase: 'sending' | 'unconfirmed' | 'refused';
  message: string;
};

const OPERATION_POLL_MS = 1_000;
/** Longer than any verb can take. */
const OPERATION_POLL_TIMEOUT_MS = 15 * 60_000;

type Action = Pick<PendingAction, 'target' | 'kind' | 'name' | 'mutating'>;

export class Power {
  pending = $state.raw<readonly PendingAction[]>(restore());

  /** Operations that are not recorded, because the server could not open an incident. */
  unlogged = $state.raw<readonly OperationView[]>([]);

  constructor(
    private readonly currentIncident: () => string | undefined,
    /** Called with the incident that records the action, or the operation that blocks it. */
    private readonly follow: (incident: string) => void,
  ) {}

  /** Whether a mutating verb is being sent to `target`. */
  isSending(target: string): boolean {
    return this.pending.some((p) => p.target === target && p.mutating && p.phase === 'sending');
  }

  async run(action: Action): Promise<void> {
    if (action.mutating && this.isSending(action.target)) return;
    this.pending = this.pending.filter((p) => p.phase !== 'refused' && p.name !== action.name);
    const incident = this.currentIncident();
    const fresh = { key: newKey(), sent: sentNow(), phase: 'sending', message: '' } as const;
    await this.#send({ ...action, incident, ...fresh });
  }

  /** Sends an unconfirmed action again with the same key, within the resend window. */
  async resend(key: string): Promise<void> {
    const pending = this.pending.find((p) => p.key === key);
    if (pending?.phase !== 'unconfirmed' || resendTimeLeft(pending.sent) === 0) return;
    if (pending.mutating && this.isSending(pending.target)) return;
    await this.#send({ ...pending, sent: sentNow(), phase: 'sending', message: '' });
  }

  dismiss(key: string): void {
    this.#set(this.pending.filter((p) => p.key !== key));
  }

  dismissOperation(operation: string): void {
    this.unlogged = this.unlogged.filter((o) => o.operation !== operation);
  }

  async #send(pending: PendingAction): Promise<void> {
    this.#put(pending);
    const { target, kind, name, key, incident } = pending;
    try {
      const accepted = await api[kind](target, name, key, incident);
      this.dismiss(key);
      if (accepted.incident !== undefined) this.follow(accepted.incident);
      else void this.#poll(accepted.operation);
    } catch (error) {
      this.#put({ ...pending, ...failure(error, name) });
      const blocking = error instanceof Problem ? error.field('incident') : undefined;
      if (blocking !== undefined) this.follow(blocking);
    }
  }

  /** Polls an unlogged operation until it ends. */
  async #poll(operation: string): Promise<void> {
    const deadline = Date.now() + OPERATION_POLL_TIMEOUT_MS;
    let running = true;
    while (running && Date.now() < deadline) {
      try {
        const view = await api.operation(operation);
        this.unlogged = [...this.unlogged.filter((o) => o.operation !== operation), view];
        running = view.state === 'running';
      } catch (error) {
        running = !(error instanceof Problem) || error instanceof SignedOutAtEdge;
      }
      if (running) await new Promise((resolve) => setTimeout(resolve, OPERATION_POLL_MS));
    }
  }

  #put(pending: PendingAction): void {
    this.#set([...this.pending.filter((p) => p.key !== pending.key), pending]);
  }

  #set(pending: readonly PendingAction[]): void {
    this.pending = pending;
    store(pending);
  }
}

function failure(error: unknown, name: string): Pick<PendingAction, 'phase' | 'message'> {
  if (error instanceof SignedOutAtEdge) {
    const message = `“${name}” did not reach the server: you are signed out at the edge.`;
    return { phase: 'unconfirmed', message };
  }
  if (error instanceof Problem) return { phase: 'refused', message: error.message };
  const message = `It is not known whether “${name}” reached the server.`;
  return { phase: 'unconfirmed', message };
}

const STORAGE_KEY = 'breakglass.pending';

/** Restores the actions of this tab after a reload. One that was being sent is unconfirmed. */
function restore(): PendingAction[] {
  try {
    const stored = JSON.parse(sessionStorage.getItem(STORAGE_KEY) ?? '[]') as PendingAction[];
    return stored.map((p) => ({
      ...p,
      ...(p.phase === 'unconfirmed' ? {} : failure(undefined, p.name)),
      sent: { at: p.sent.at },
    }));
  } catch {
    return [];
  }
}

function store(pending: readonly PendingAction[]): void {
  try {
    const open = pending.filter((p) => p.phase !== 'refused');
    sessionStorage.setItem(STORAGE_KEY, JSON.stringify(open));
  } catch {
    // Storage may be forbidden. Then a reload loses the pending actions.
  }
}
