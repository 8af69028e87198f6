import type { Me } from '../lib/api/Me';
import { api } from '../lib/http/client';
import { Problem } from '../lib/http/problem';
import { takeSignInCode } from './route.svelte';
import { load, save } from './storage';

type Status = 'loading' | 'offline' | 'signed-out' | 'ready';

const RETRY_MS = 3_000;

/** Who is signed in, and whether the server can be reached at all. */
export class Session {
  status = $state<Status>('loading');
  me = $state.raw<Me>();
  /** Why signing in is asked for, or why it failed. */
  message = $state('');
  /** When the server last answered this browser, in ms since the epoch. */
  lastContact = $state<number | undefined>(Number(load('contact')) || undefined);
  #retry: ReturnType<typeof setTimeout> | undefined;

  /** Signs in by the link's code if there is one, then asks who is here. */
  async start(): Promise<void> {
    const code = takeSignInCode();
    if (code !== undefined) await this.signIn(code, 'link');
    else await this.refresh();
  }

  /** Exchanges a token or a one-time code for the session cookie. */
  async signIn(token: string, by: 'link' | 'form'): Promise<boolean> {
    this.message = '';
    let refusal = '';
    try {
      await api.login(token);
    } catch (error) {
      refusal = signInFailed(error, by);
    }
    // A used link in a browser that is signed in already is no failure.
    if (refusal === '' || by === 'link') await this.refresh();
    if (this.status === 'signed-out' || by === 'form') this.message = refusal;
    return refusal === '';
  }

  async signOut(): Promise<void> {
    try {
      await api.logout();
      this.lost('You are signed out.');
    } catch {
      this.message = 'Not signed out: no answer from the server. Try again.';
    }
  }

  /** The server does not know this browser any more. */
  lost(message: string): void {
    this.status = 'signed-out';
    this.me = undefined;
    this.message = message;
  }

  /** Notes that the server answered. */
  contact(at: number): void {
    const before = this.lastContact ?? 0;
    this.lastContact = at;
    if (at - before > 10_000) save('contact', String(at));
  }

  async refresh(): Promise<void> {
    clearTimeout(this.#retry);
    try {
      this.me = await api.me();
      this.contact(Date.now());
      this.status = 'ready';
    } catch (error) {
      if (error instanceof Problem && (error.status === 401 || error.status === 403)) {
        this.status = 'signed-out';
        return;
      }
      if (this.status !== 'ready') this.status = 'offline';
      this.#retry = setTimeout(() => void this.refresh(), RETRY_MS);
    }
  }
}

function signInFailed(error: unknown, by: 'link' | 'form'): string {
  if (!(error instanceof Problem)) return 'No answer from the server. Try again.';
  if (error.status !== 401) return error.message;
  return by === 'link'
    ? 'This link was used already, or it is too old. Print a new one, or paste the token.'
    : 'The server does not know this token. Check that it was pasted whole.';
}
