/*
 * An edge in front of the server, such as an SSO proxy whose session has ended or a captive
 * portal, may answer instead of it: with a redirect, or with neither JSON nor an event stream.
 * Such an answer does not count as contact with the server.
 */
import { Problem, problemOf, Unconfirmed } from './problem';

/** The edge requires a new sign-in: the request did not reach the server. */
export class SignedOutAtEdge extends Problem {
  constructor() {
    const detail =
      'You are signed out at the edge, so this did not reach the server. Sign in again.';
    super(0, 'Signed out at the edge', detail, {});
  }
}

/** Statuses of an edge that cannot reach the server, or that is overloaded. */
const EDGE_FAILURES = new Set([404, 408, 413, 425, 429]);

let onAnswer: (signedOut: boolean) => void = () => undefined;

/** Sets the one listener. It learns after each answer whether the edge has signed us out. */
export function listenToEdge(listener: (signedOut: boolean) => void): void {
  onAnswer = listener;
}

/**
 * Resolves if the server itself answered with the content type `wanted`, or with no content if
 * that is undefined. Rejects with the server's `Problem`, with `SignedOutAtEdge`, or with
 * `Unconfirmed` if the edge could not reach the server. The request must not follow redirects.
 */
export async function requireServer(response: Response, wanted?: string): Promise<void> {
  const type = response.headers.get('Content-Type')?.toLowerCase() ?? '';
  if (response.ok && isFromServer(response, type, wanted)) return onAnswer(false);
  const problem = type.includes('json') ? await problemOf(response) : undefined;
  if (problem?.field('type')?.startsWith('urn:breakglass:')) {
    onAnswer(false);
    throw problem;
  }
  // A body that is never read would occupy its connection.
  if (problem === undefined) void response.body?.cancel().catch(() => undefined);
  if (isEdgeFailure(response.status)) {
    throw new Unconfirmed(`The edge answered ${response.status}.`);
  }
  throw signedOut();
}

/** Notifies the listener, and returns the error to throw. */
export function signedOut(): SignedOutAtEdge {
  onAnswer(true);
  return new SignedOutAtEdge();
}

function isFromServer(response: Response, type: string, wanted: string | undefined): boolean {
  return wanted === undefined ? response.status === 204 : type.startsWith(wanted);
}

/** 511 is not a failure: a captive portal asks for a sign-in with it. */
const isEdgeFailure = (status: number) =>
  (status >= 500 && status !== 511) || EDGE_FAILURES.has(status);
