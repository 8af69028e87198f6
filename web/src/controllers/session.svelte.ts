/*
 * Owns the sign-in: who the operator is, whether the server answers, and whether an edge in front
 * of it has signed the operator out. Leaves incidents and targets to the workspace.
 */
import type { Me } from '../lib/api/Me';
import { api } from '../lib/http/client';
import { listenToEdge, SignedOutAtEdge } from '../lib/http/edge';
import { messageOf, Problem } from '../lib/http/problem';
import { saveRoute, saveSignInCode, takeSignInCode } from './route.svelte';
import { load, save } from './storage';

type Status = 'loading' | 'offline' | 'signed-out' | 'ready';

const RETRY_MS = 3_000;
/**
 * Retry interval while signed out at the edge, to notice a sign-in in another tab. Longer, because
 * an edge may open a session for each request.
 */
export const EDGE_RETRY_MS = 15_000;

export class Session {
  status = $state<Status>('loading');
  me = $state.raw<Me>();
  /** Why the operator has to sign in, or why signing in or out failed. */
  message = $state('');
  /** When the server last answered this browser, in ms since the epoch. */
  lastContact = $state<number | undefined>(Number(load('contact')) || undefined);
  /** The edge answers instead of the server until the operator signs in there again. */
  signedOutAtEdge = $state(false);
  #unusedCode: string | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    listenToEdge((signedOut) => {
      if (signedOut && !this.signedOutAtEdge) this.#refreshIn(EDGE_RETRY_MS);
      this.signedOutAtEdge = signedOut;
    });
  }

  /** Signs in with the link's code if there is one, then loads the operator's identity. */
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
      refusal = signInError(error, by);
    }
    // A used link does not matter if this browser is signed in already.
    if (refusal === '' || by === 'link') await this.refresh();
    if (this.status === 'signed-out' || by === 'form') this.message = refusal;
    return refusal === '';
  }

  async signOut(): Promise<void> {
    try {
      await api.logout();
      this.expire('You are signed out.');
    } catch (error) {
      this.message = `Not signed out. ${messageOf(error)}`;
    }
  }

  /** Shows the sign-in: the server no longer accepts this browser's session. */
  expire(message = 'Your session has ended. Sign in again.'): void {
    this.status = 'signed-out';
    this.me = undefined;
    this.message = message;
  }

  /** Records that the server answered at `at`, in ms since the epoch. */
  noteContact(at: number): void {
    const before = this.lastContact ?? 0;
    this.lastContact = at;
    if (at - before > 10_000) save('contact', String(at));
  }

  async refresh(): Promise<void> {
    clearTimeout(this.#retry);
    try {
      this.me = await api.me();
      this.noteContact(Date.now());
      this.status = 'ready';
    } catch (error) {
      if (error instanceof Problem && (error.status === 401 || error.status === 403)) {
        this.status = 'signed-out';
        return;
      }
      if (this.status !== 'ready') this.status = 'offline';
      this.#refreshIn(error instanceof SignedOutAtEdge ? EDGE_RETRY_MS : RETRY_MS);
    }
  }

  /** Reloads the page, so that the edge asks for the sign-in. The same view opens afterwards. */
  signInAtEdge(): void {
    if (this.#unusedCode === undefined) saveRoute();
    else saveSignInCode(this.#unusedCode);
    location.reload();
  }

  #refreshIn(ms: number): void {
    clearTimeout(this.#retry);
    const refresh = () => (document.hidden ? this.#refreshIn(ms) : void this.refresh());
    this.#retry = setTimeout(refresh, ms);
  }
}

function signInError(error: unknown, by: 'link' | 'form'): string {
  if (!(error instanceof Problem) || error.status !== 401) return messageOf(error);
  return by === 'link'
    ? 'This link was already used or has expired. Print a new one, or paste the token.'
    : 'The server does not know this token. Check that you pasted all of it.';
}
