import { requireServer, signedOut } from './edge';
import { Problem, Unconfirmed } from './problem';
import { readJson } from '../visible';
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

/** How long an answer may take before the request counts as unconfirmed. */
const PATIENCE_MS = 10_000;
/** A picture comes from the host: the server itself waits for it longer. */
const PICTURE_PATIENCE_MS = 20_000;

/** An examination dials guest and host, and begins some seconds after the last one. */
const EXAMINATION_PATIENCE_MS = 60_000;

/** What an operator can say to the agent's question. */
/** Which agent a prompt is for, and which of its models. */
export type Asked = { model?: string; agent?: string };
export type Answer = Exclude<Decision, 'void'>;

type Call = {
  method?: 'GET' | 'POST';
  body?: unknown;
  key?: string;
  patience?: number;
  /** The content type of a good answer; undefined where it has no content. */
  wanted?: string;
};

const JSON_TYPE = 'application/json';

/** Told the server's clock with each answer, in ms since the epoch. */
let onServerTime: (serverMs: number) => void = () => undefined;

/** Registers the one listener for the server's clock. */
export function listenToServerTime(listener: (serverMs: number) => void): void {
  onServerTime = listener;
}

const call = <T>(path: string, how: Call = {}): Promise<T> =>
  ask(
    path,
    { wanted: JSON_TYPE, ...how },
    async (response) => readJson(await response.text()) as T,
  );

/** A POST whose good answer has no content. */
const post = (path: string, body?: unknown): Promise<void> =>
  ask(path, { method: 'POST', body }, () => Promise.resolve());

/** Sends one request and gives what `read` makes of a good answer of the server. */
async function ask<T>(
  path: string,
  { method = 'GET', body, key, patience = PATIENCE_MS, wanted }: Call,
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
      // The server redirects nothing: only an edge does, to its sign-in.
      redirect: 'manual',
      signal: AbortSignal.timeout(patience),
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

/** Who is signed in. An edge may answer with JSON of its own. */
async function me(): Promise<Me> {
  const me = await call<Partial<Me> | null>(path('me'));
  if (typeof me?.identity !== 'string' || me.agent === undefined) throw signedOut();
  return me as Me;
}

/** A picture as an address that an `<img>` takes: one of our own would not say why there is none. */
async function picture(path: string): Promise<string> {
  const how = { patience: PICTURE_PATIENCE_MS, wanted: 'image/png' };
  const blob = await ask(path, how, (response) => response.blob());
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(new Unconfirmed(reader.error));
    reader.readAsDataURL(blob);
  });
}

const path = (...parts: string[]) => `/api/${parts.map(encodeURIComponent).join('/')}`;

const inLog = (incident?: string) => (incident ? `?incident=${encodeURIComponent(incident)}` : '');

/** Every request that the page makes; each rejects with a `Problem` or as `Unconfirmed`. */
export const api = {
  me,
  login: (token: string) => post(path('login'), { token }),
  logout: () => post(path('logout')),
  operation: (operation: string) => call<OperationView>(path('operations', operation)),
  /** The target's screen now. */
  screen: (target: string) => picture(path('targets', target, 'screenshot')),
  /** The screen as it was just before an operation. */
  kept: (operation: string) => picture(pictureUrl(operation)),
  /** How everything stands that an emergency needs. */
  readiness: () => call<Readiness>(path('readiness')),
  /** The same after everything was tried anew. */
  examine: () =>
    call<Readiness>(path('readiness', 'check'), {
      method: 'POST',
      patience: EXAMINATION_PATIENCE_MS,
    }),
  targets: () => call<TargetView[]>(path('targets')),
  incidents: () => call<IncidentSummary[]>(path('incidents')),
  openIncident: (target: string) =>
    call<IncidentOpened>(path('incidents'), { method: 'POST', body: { target } }),
  closeIncident: (incident: string) => post(path('incidents', incident, 'close')),
  /** The incident as a report for people, in Markdown. */
  report: (incident: string) =>
    ask(reportUrl(incident), { wanted: 'text/markdown' }, (response) => response.text()),
  prompt: (incident: string, text: string, asked: Asked) =>
    call<PromptTaken>(path('incidents', incident, 'prompts'), {
      method: 'POST',
      body: { text, ...asked },
    }),
  stop: (incident: string) =>
    call<Stopped>(path('incidents', incident, 'stop'), { method: 'POST' }),
  decide: (incident: string, approval: string, decision: Answer, note?: string) =>
    call<unknown>(path('incidents', incident, 'approvals', approval), {
      method: 'POST',
      body: { decision, note },
    }),
  autonomy: (incident: string, autonomy: Autonomy) =>
    call<unknown>(path('incidents', incident, 'autonomy'), { method: 'POST', body: { autonomy } }),
  cutOff: (incident: string, cut_off: boolean) =>
    call<unknown>(path('incidents', incident, 'cut-off'), { method: 'POST', body: { cut_off } }),
  verb: (target: string, verb: string, key: string, incident?: string) =>
    call<Accepted>(path('targets', target, 'verbs', verb) + inLog(incident), {
      method: 'POST',
      key,
    }),
  check: (target: string, check: string, key: string, incident?: string) =>
    call<Accepted>(path('targets', target, 'checks', check) + inLog(incident), {
      method: 'POST',
      key,
    }),
};

/** Where an incident's events are streamed from. */
export const eventsUrl = (incident: string) => path('incidents', incident, 'events');

/** Where the screen of before an operation is. */
export const pictureUrl = (operation: string) => path('operations', operation, 'screenshot');

/** Where an incident's report can be downloaded. */
export const reportUrl = (incident: string) => path('incidents', incident, 'report.md');
