/*
 * An edge in front of the server may answer in its place: an SSO proxy whose session has ended, a
 * captive portal. Such an answer is a redirect, or it is neither JSON nor an event stream. It says
 * nothing about the server, so it is no sign of life either.
 */
import { Problem, problemOf, Unconfirmed } from './problem';

/** The edge wants a new sign-in; the request did not get through it. */
export class SignedOutAtEdge extends Problem {
  constructor() {
    const detail =
      'You are signed out at the edge, so this did not reach the server. Sign in again.';
    super(0, 'Signed out at the edge', detail, {});
  }
}

/** Statuses by which an edge says that the server behind it is away, or that it is busy itself. */
const EDGE_TROUBLE = new Set([404, 408, 413, 425, 429]);

/** Called after each answer: whether the edge answered in the server's place. */
let onAnswer: (signedOut: boolean) => void = () => undefined;

/** Registers the one listener for the edge's session. */
export function listenToEdge(listener: (signedOut: boolean) => void): void {
  onAnswer = listener;
}

/**
 * Resolves if the server itself answered, with the content type `wanted` (or with no content, if
 * that is undefined). Rejects with the server's `Problem`, with `SignedOutAtEdge`, or as
 * `Unconfirmed` if the edge could not reach the server. Redirects must not have been followed.
 */
export async function requireServer(response: Response, wanted?: string): Promise<void> {
  const type = response.headers.get('Content-Type')?.toLowerCase() ?? '';
  if (response.ok && isOurs(response, type, wanted)) return onAnswer(false);
  const problem = type.includes('json') ? await problemOf(response) : undefined;
  if (problem?.field('type')?.startsWith('urn:breakglass:')) {
    onAnswer(false);
    throw problem;
  }
  // A body that is not read keeps its connection busy.
  if (problem === undefined) void response.body?.cancel().catch(() => undefined);
  if (isTrouble(response.status)) {
    throw new Unconfirmed(`The edge answered ${response.status}.`);
  }
  throw signedOut();
}

/** Notes that the edge answered in the server's place; the error to throw. */
export function signedOut(): SignedOutAtEdge {
  onAnswer(true);
  return new SignedOutAtEdge();
}

function isOurs(response: Response, type: string, wanted: string | undefined): boolean {
  return wanted === undefined ? response.status === 204 : type.startsWith(wanted);
}

/** 511 is how a captive portal asks for a sign-in. */
const isTrouble = (status: number) => (status >= 500 && status !== 511) || EDGE_TROUBLE.has(status);
