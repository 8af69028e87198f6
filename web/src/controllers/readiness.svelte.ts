import type { Readiness } from '../lib/api/Readiness';
import { api } from '../lib/http/client';
import { isSignedOut, messageOf } from '../lib/http/problem';
import { tally } from '../lib/readiness';
import type { Session } from './session.svelte';

const POLL_MS = 60_000;

/** The readiness state: polled from the server, and checked again on request. */
export class ReadinessMonitor {
  value = $state.raw<Readiness>();
  /** Whether a run of all checks that the operator requested is in progress. */
  checking = $state(false);
  /** Why the last request failed. */
  message = $state('');
  /** Number of checks that are not green, without the vital signs. */
  readonly problems = $derived(this.value ? tally(this.value, false) : { red: 0, amber: 0 });

  constructor(private readonly session: Session) {}

  /** Polls, the first time after `delayMs`, until the returned function is called. */
  follow(delayMs = 0): () => void {
    const read = () => {
      if (!document.hidden && !this.checking) void this.#load(api.readiness, false);
    };
    const first = setTimeout(read, delayMs);
    const poll = setInterval(read, POLL_MS);
    document.addEventListener('visibilitychange', read);
    return () => {
      clearTimeout(first);
      clearInterval(poll);
      document.removeEventListener('visibilitychange', read);
    };
  }

  /** Asks the server to run all checks now. */
  async runChecks(): Promise<void> {
    if (this.checking) return;
    this.checking = true;
    await this.#load(api.runReadinessChecks, true);
    this.checking = false;
  }

  /** A failed poll keeps the last state; `showError` or a missing state shows the failure. */
  async #load(request: () => Promise<Readiness>, showError: boolean): Promise<void> {
    try {
      this.value = await request();
      this.message = '';
      this.session.noteContact(Date.now());
    } catch (error) {
      if (isSignedOut(error)) this.session.expire();
      else if (showError || this.value === undefined) this.message = messageOf(error);
    }
  }
}
