/*
 * All requests of the page, with their timeouts. Rejects with a `Problem` if the server refused,
 * with `Unconfirmed` if no answer came. Leaves the event stream to live/stream, and the detection of
 * an edge's answers to `edge`.
 */
import { requireServer, signedOut } from './edge';
import { Problem, Unconfirmed } from './problem';
import { readJson } from '../hidden-characters';
import type { Accepted } from '../api/Accepted';
import type { Autonomy } from '../api/Autonomy';
import type { Decision } from '../api/Decision';
import type { IncidentOpened } from '../api/IncidentOpened';
import type { IncidentSummary } from '../api/IncidentSummary';
import type { Me } from '../api/Me';
import type { OperationView } from '../api/OperationView';
import type { PromptTaken } from '../api/PromptTaken';
import type { Readiness } from '../api/Readiness';
import type { Stopped } from '../api/Stopped';
import type { TargetView } from '../api/TargetView';

const REQUEST_TIMEOUT_MS = 10_000;
/** Longer, because the server gets the screenshot from the host. */
const SCREENSHOT_TIMEOUT_MS = 20_000;
/** Longest, because all checks run again, and only some seconds after the last run. */
const READINESS_TIMEOUT_MS = 60_000;

/** The agent of a prompt, and its model. */
export type PromptOptions = { model?: string; agent?: string };
/** A decision on an approval request. `void` is left to the server. */
export type OperatorDecision = Exclude<Decision, 'void'>;

type Call = {
  method?: 'GET' | 'POST';
  body?: unknown;
  key?: string;
  timeoutMs?: number;
  /** The content type of a successful answer. Undefined if it has no content. */
  wanted?: string;
};

const JSON_TYPE = 'application/json';

let onServerTime: (serverMs: number) => void = () => undefined;

/** Sets the one listener. It gets the server's time, in ms since the epoch, with each answer. */
export function listenToServerTime(listener: (serverMs: number) => void): void {
  onServerTime = listener;
}

const call = <T>(path: string, options: Call = {}): Promise<T> =>
  request(
    path,
    { wanted: JSON_TYPE, ...options },
    async (response) => readJson(await response.text()) as T,
  );

/** A POST whose successful answer has no content. */
const post = (path: string, body?: unknown): Promise<void> =>
  request(path, { method: 'POST', body }, () => Promise.resolve());

/** Sends one request, and reads the server's answer with `read`. */
async function request<T>(
  path: string,
  { method = 'GET', body, key, timeoutMs = REQUEST_TIMEOUT_MS, wanted }: Call,
  read: (response: Response) => Promise<T>,
): Promise<T> {
  const headers: Record<string, string> = { Accept: wanted ?? JSON_TYPE };
  if (method === 'POST') headers['Content-Type'] = JSON_TYPE;
  if (key !== undefined) headers['Idempotency-Key'] = key;
  let response: Response;
  let answer: T;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: method === 'POST' ? JSON.stringify(body ?? {}) : undefined,
      cache: 'no-store',
      credentials: 'same-origin',
      // The server never redirects: a redirect leads to the sign-in of an edge.
      redirect: 'manual',
      signal: AbortSignal.timeout(timeoutMs),
    });
    await requireServer(response, wanted);
    answer = await read(response);
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Unconfirmed(error);
  }
  const date = Date.parse(response.headers.get('Date') ?? '');
  if (!Number.isNaN(date)) onServerTime(date);
  return answer;
}

/** The operator's identity. An edge may answer with JSON of its own, so check it. */
async function me(): Promise<Me> {
  const me = await call<Partial<Me> | null>(path('me'));
  if (typeof me?.identity !== 'string' || me.agent === undefined) throw signedOut();
  return me as Me;
}

/** A PNG as a `data:` URL. An `<img>` that loads it itself could not show why it failed. */
async function png(path: string): Promise<string> {
  const options = { timeoutMs: SCREENSHOT_TIMEOUT_MS, wanted: 'image/png' };
  const blob = await request(path, options, (response) => response.blob());
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(new Unconfirmed(reader.error));
    reader.readAsDataURL(blob);
  });
}

const path = (...parts: string[]) => `/api/${parts.map(encodeURIComponent).join('/')}`;

const forIncident = (incident?: string) =>
  incident ? `?incident=${encodeURIComponent(incident)}` : '';

export const api = {
  me,
  login: (token: string) => post(path('login'), { token }),
  logout: () => post(path('logout')),
  operation: (operation: string) => call<OperationView>(path('operations', operation)),
  /** The guest's screen now. */
  screenshot: (target: string) => png(path('targets', target, 'screenshot')),
  /** The guest's screen just before an operation. */
  savedScreenshot: (operation: string) => png(screenshotUrl(operation)),
  readiness: () => call<Readiness>(path('readiness')),
  /** Runs all checks, and returns the new readiness state. */
  runReadinessChecks: () =>
    call<Readiness>(path('readiness', 'check'), {
      method: 'POST',
      timeoutMs: READINESS_TIMEOUT_MS,
    }),
  targets: () => call<TargetView[]>(path('targets')),
  incidents: () => call<IncidentSummary[]>(path('incidents')),
  openIncident: (target: string) =>
    call<IncidentOpened>(path('incidents'), { method: 'POST', body: { target } }),
  closeIncident: (incident: string) => post(path('incidents', incident, 'close')),
  /** In Markdown. */
  report: (incident: string) =>
    request(path('incidents', incident, 'report.md'), { wanted: 'text/markdown' }, (response) =>
      response.text(),
    ),
  prompt: (incident: string, text: string, options: PromptOptions) =>
    call<PromptTaken>(path('incidents', incident, 'prompts'), {
      method: 'POST',
      body: { text, ...options },
    }),
  stop: (incident: string) =>
    call<Stopped>(path('incidents', incident, 'stop'), { method: 'POST' }),
  decide: (incident: string, approval: string, decision: OperatorDecision, note?: string) =>
    call<unknown>(path('incidents', incident, 'approvals', approval), {
      method: 'POST',
      body: { decision, note },
    }),
  autonomy: (incident: string, autonomy: Autonomy) =>
    call<unknown>(path('incidents', incident, 'autonomy'), { method: 'POST', body: { autonomy } }),
  cutOff: (incident: string, cut_off: boolean) =>
    call<unknown>(path('incidents', incident, 'cut-off'), { method: 'POST', body: { cut_off } }),
  verb: (target: string, verb: string, key: string, incident?: string) =>
    call<Accepted>(path('targets', target, 'verbs', verb) + forIncident(incident), {
      method: 'POST',
      key,
    }),
  check: (target: string, check: string, key: string, incident?: string) =>
    call<Accepted>(path('targets', target, 'checks', check) + forIncident(incident), {
      method: 'POST',
      key,
    }),
};

export const eventsUrl = (incident: string) => path('incidents', incident, 'events');

export const screenshotUrl = (operation: string) => path('operations', operation, 'screenshot');
