import type { Readiness } from '../lib/api/Readiness';
import { api } from '../lib/http/client';
import { Problem } from '../lib/http/problem';
import { tally } from '../lib/readiness';
import type { Session } from './session.svelte';

const POLL_MS = 60_000;

/** Whether everything stands ready: what the server knows, read now and then, and tried on demand. */
export class ReadinessWatch {
  value = $state.raw<Readiness>();
  /** Everything is being tried. */
  trying = $state(false);
  /** Why the last request failed. */
  message = $state('');
  /** What is to be looked at, besides the vital signs. */
  readonly worrying = $derived(this.value ? tally(this.value, false) : { red: 0, amber: 0 });

  constructor(private readonly session: Session) {}

  /** Reads in `firstMs` and every minute, until the returned function is called. */
  follow(firstMs = 0): () => void {
    const read = () => {
      if (!document.hidden && !this.trying) void this.#take(api.readiness, false);
    };
    const first = setTimeout(read, firstMs);
    const poll = setInterval(read, POLL_MS);
    document.addEventListener('visibilitychange', read);
    return () => {
      clearTimeout(first);
      clearInterval(poll);
      document.removeEventListener('visibilitychange', read);
    };
  }

  /** Has everything tried now. */
  async tryNow(): Promise<void> {
    if (this.trying) return;
    this.trying = true;
    await this.#take(api.examine, true);
    this.trying = false;
  }

  /** `told`: whether somebody waits for it, who is told at once why it failed. */
  async #take(ask: () => Promise<Readiness>, told: boolean): Promise<void> {
    try {
      this.value = await ask();
      this.message = '';
      this.session.contact(Date.now());
    } catch (error) {
      if (error instanceof Problem && error.status === 401) {
        this.session.lost('Your session has ended. Sign in again.');
      } else if (told || this.value === undefined) {
        this.message =
          error instanceof Problem ? error.message : 'No answer from the server. Try again.';
      }
    }
  }
}
