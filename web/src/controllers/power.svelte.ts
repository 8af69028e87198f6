import type { OperationView } from '../lib/api/OperationView';
import { api } from '../lib/http/client';
import { newKey } from '../lib/http/key';
import { SignedOutAtEdge } from '../lib/http/edge';
import { Problem } from '../lib/http/problem';
import { offerLeft, sentNow, type Sent } from './power-offer';

/** An action on its way to the server, or one that came back without a yes. */
export type Pending = {
  key: string;
  target: string;
  kind: 'verb' | 'check';
  name: string;
  mutating: boolean;
  /** In whose log it belongs; else the server chooses or opens one. */
  incident?: string;
  /** When it was last sent. */
  sent: Sent;
  phase: 'sending' | 'unconfirmed' | 'refused';
  message: string;
};

const WATCH_MS = 1_000;
/** Longer than any verb takes. */
const WATCH_LIMIT_MS = 15 * 60_000;

type Action = Pick<Pending, 'target' | 'kind' | 'name' | 'mutating'>;

/**
 * Sends actions. Each carries a key by which the server runs it at most once, so an action whose
 * answer got lost can be offered again without the fear of doing it twice. It is never resent
 * unasked, and the offer expires.
 */
export class Power {
  pending = $state.raw<readonly Pending[]>(restore());

  /** Runs that are in no incident's log, since none could be opened. */
  unlogged = $state.raw<readonly OperationView[]>([]);

  constructor(
    private readonly currentIncident: () => string | undefined,
    /** Told in whose log to look: the action's own, or that of the run in its way. */
    private readonly follow: (incident: string) => void,
  ) {}

  /** Whether a mutating verb is on its way to `target`. */
  sending(target: string): boolean {
    return this.pending.some((p) => p.target === target && p.mutating && p.phase === 'sending');
  }

  async run(action: Action): Promise<void> {
    if (action.mutating && this.sending(action.target)) return;
    this.pending = this.pending.filter((p) => p.phase !== 'refused' && p.name !== action.name);
    const incident = this.currentIncident();
    const begun = { key: newKey(), sent: sentNow(), phase: 'sending', message: '' } as const;
    await this.#send({ ...action, incident, ...begun });
  }

  /** Sends an unconfirmed action again, under the key it had, while that is still offered. */
  async again(key: string): Promise<void> {
    const pending = this.pending.find((p) => p.key === key);
    if (pending?.phase !== 'unconfirmed' || offerLeft(pending.sent) === 0) return;
    if (pending.mutating && this.sending(pending.target)) return;
    await this.#send({ ...pending, sent: sentNow(), phase: 'sending', message: '' });
  }

  dismiss(key: string): void {
    this.#drop(key);
  }

  dismissRun(operation: string): void {
    this.unlogged = this.unlogged.filter((o) => o.operation !== operation);
  }

  async #send(pending: Pending): Promise<void> {
    this.#put(pending);
    const { target, kind, name, key, incident } = pending;
    try {
      const accepted = await api[kind](target, name, key, incident);
      this.#drop(key);
      if (accepted.incident !== undefined) this.follow(accepted.incident);
      else void this.#watch(accepted.operation);
    } catch (error) {
      this.#put({ ...pending, ...failure(error, name) });
      const other = error instanceof Problem ? error.field('incident') : undefined;
      if (other !== undefined) this.follow(other);
    }
  }

  /** Follows a run that no log could take, by asking for it, until it ends. */
  async #watch(operation: string): Promise<void> {
    const limit = Date.now() + WATCH_LIMIT_MS;
    let running = true;
    while (running && Date.now() < limit) {
      try {
        const view = await api.operation(operation);
        this.unlogged = [...this.unlogged.filter((o) => o.operation !== operation), view];
        running = view.state === 'running';
      } catch (error) {
        running = !(error instanceof Problem) || error instanceof SignedOutAtEdge;
      }
      if (running) await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
    }
  }

  #put(pending: Pending): void {
    const others = this.pending.filter((p) => p.key !== pending.key);
    this.#keep([...others, pending]);
  }

  #drop(key: string): void {
    this.#keep(this.pending.filter((p) => p.key !== key));
  }

  #keep(pending: readonly Pending[]): void {
    this.pending = pending;
    store(pending);
  }
}

function failure(error: unknown, name: string): Pick<Pending, 'phase' | 'message'> {
  if (error instanceof SignedOutAtEdge) {
    const message = `“${name}” did not reach the server: you are signed out at the edge.`;
    return { phase: 'unconfirmed', message };
  }
  if (error instanceof Problem) return { phase: 'refused', message: error.message };
  const message = `It is not known whether “${name}” reached the server.`;
  return { phase: 'unconfirmed', message };
}

const STORE = 'breakglass.pending';

/** What a page that was loaded again says of what an earlier one had sent. */
const unknown = ({ phase, message, name }: Pending) =>
  phase === 'unconfirmed' ? { phase, message } : failure(undefined, name);

/** What was on its way when the page went is unconfirmed when it comes back. */
function restore(): Pending[] {
  try {
    const stored = JSON.parse(sessionStorage.getItem(STORE) ?? '[]') as Pending[];
    return stored.map((p) => ({ ...p, ...unknown(p), sent: { at: p.sent.at } }));
  } catch {
    return [];
  }
}

function store(pending: readonly Pending[]): void {
  try {
    const open = pending.filter((p) => p.phase !== 'refused');
    sessionStorage.setItem(STORE, JSON.stringify(open));
  } catch {
    // Storage may be forbidden; then a reload forgets what was on its way.
  }
}
