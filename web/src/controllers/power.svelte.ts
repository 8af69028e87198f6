import type { OperationView } from '../lib/api/OperationView';
import { api } from '../lib/http/client';
import { newKey } from '../lib/http/key';
import { Problem } from '../lib/http/problem';

/** An action on its way to the server, or one that came back without a yes. */
export type Pending = {
  key: string;
  target: string;
  kind: 'verb' | 'check';
  name: string;
  mutating: boolean;
  /** In whose log it belongs; else the server chooses or opens one. */
  incident?: string;
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
 * unasked: minutes later, the operator may not want it any more.
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
    await this.#send({ ...action, incident, key: newKey(), phase: 'sending', message: '' });
  }

  /** Sends an unconfirmed action again, under the key it had. */
  async again(key: string): Promise<void> {
    const pending = this.pending.find((p) => p.key === key);
    if (pending) await this.#send({ ...pending, phase: 'sending', message: '' });
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
        running = !(error instanceof Problem);
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
  if (error instanceof Problem) {
    return { phase: 'refused', message: error.message };
  }
  return {
    phase: 'unconfirmed',
    message: `It is not known whether “${name}” reached the server. Sent again, it runs once at most.`,
  };
}

const STORE = 'breakglass.pending';

/** What was on its way when the page went is unconfirmed when it comes back. */
function restore(): Pending[] {
  try {
    const stored = JSON.parse(sessionStorage.getItem(STORE) ?? '[]') as Pending[];
    return stored.map((p) => ({ ...p, ...failure(undefined, p.name) }));
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
