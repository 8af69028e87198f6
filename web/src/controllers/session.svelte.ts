import type { Me } from '../lib/api/Me';
import { api } from '../lib/http/client';
import { listenToEdge, SignedOutAtEdge } from '../lib/http/edge';
import { Problem } from '../lib/http/problem';
import { keepRoute, keepSignInCode, takeSignInCode } from './route.svelte';
import { load, save } from './storage';

type Status = 'loading' | 'offline' | 'signed-out' | 'ready';

const RETRY_MS = 3_000;
/** While the edge wants a sign-in, which another tab may have done: each try may cost it a session. */
const EDGE_RETRY_MS = 15_000;

/** Who is signed in, and whether the server can be reached at all. */
export class Session {
  status = $state<Status>('loading');
  me = $state.raw<Me>();
  /** Why signing in is asked for, or why it failed. */
  message = $state('');
  /** When the server last answered this browser, in ms since the epoch. */
  lastContact = $state<number | undefined>(Number(load('contact')) || undefined);
  /** The edge answers in the server's place until the operator has signed in there again. */
  signedOutAtEdge = $state(false);
  #unusedCode: string | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    listenToEdge((signedOut) => {
      if (signedOut && !this.signedOutAtEdge) this.#again(EDGE_RETRY_MS);
      this.signedOutAtEdge = signedOut;
    });
  }

  /** Signs in by the link's code if there is one, then asks who is here. */
  async start(): Promise<void> {
    const code = takeSignInCode();
    if (code === undefined) return this.refresh();
    await this.signIn(code, 'link');
    if (this.signedOutAtEdge) this.#unusedCode = code;
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
    } catch (error) {
      const why =
        error instanceof Problem ? error.message : 'No answer from the server. Try again.';
      this.message = `Not signed out. ${why}`;
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
      this.#again(error instanceof SignedOutAtEdge ? EDGE_RETRY_MS : RETRY_MS);
    }
  }

  /** Signs in at the edge by going there with the whole page. What was shown is shown again. */
  signInAtEdge(): void {
    if (this.#unusedCode === undefined) keepRoute();
    else keepSignInCode(this.#unusedCode);
    location.reload();
  }

  #again(inMs: number): void {
    clearTimeout(this.#retry);
    const again = () => (document.hidden ? this.#again(inMs) : void this.refresh());
    this.#retry = setTimeout(again, inMs);
  }
}

function signInFailed(error: unknown, by: 'link' | 'form'): string {
  if (!(error instanceof Problem)) return 'No answer from the server. Try again.';
  if (error.status !== 401) return error.message;
  return by === 'link'
    ? 'This link was used already, or it is too old. Print a new one, or paste the token.'
    : 'The server does not know this token. Check that it was pasted whole.';
}
