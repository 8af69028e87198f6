import { problemOf, Unconfirmed } from './problem';
import type { Accepted } from '../api/Accepted';
import type { Autonomy } from '../api/Autonomy';
import type { Decision } from '../api/Decision';
import type { IncidentOpened } from '../api/IncidentOpened';
import type { IncidentSummary } from '../api/IncidentSummary';
import type { Me } from '../api/Me';
import type { OperationView } from '../api/OperationView';
import type { PromptTaken } from '../api/PromptTaken';
import type { Stopped } from '../api/Stopped';
import type { TargetView } from '../api/TargetView';

/** How long an answer may take before the request counts as unconfirmed. */
const PATIENCE_MS = 10_000;

/** What an operator can say to the agent's question. */
export type Answer = Exclude<Decision, 'void'>;

type Call = { method?: 'GET' | 'POST'; body?: unknown; key?: string };

/** Told the server's clock with each answer, in ms since the epoch. */
let onServerTime: (serverMs: number) => void = () => undefined;

/** Registers the one listener for the server's clock. */
export function listenToServerTime(listener: (serverMs: number) => void): void {
  onServerTime = listener;
}

async function call<T>(path: string, { method = 'GET', body, key }: Call = {}): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (method === 'POST') headers['Content-Type'] = 'application/json';
  if (key !== undefined) headers['Idempotency-Key'] = key;
  let response: Response;
  let text: string;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: method === 'POST' ? JSON.stringify(body ?? {}) : undefined,
      cache: 'no-store',
      credentials: 'same-origin',
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (!response.ok) throw await problemOf(response);
    text = await response.text();
  } catch (error) {
    if (error instanceof Error && error.name === 'Problem') throw error;
    throw new Unconfirmed(error);
  }
  const date = Date.parse(response.headers.get('Date') ?? '');
  if (!Number.isNaN(date)) onServerTime(date);
  return (text === '' ? undefined : JSON.parse(text)) as T;
}

const path = (...parts: string[]) => `/api/${parts.map(encodeURIComponent).join('/')}`;

const inLog = (incident?: string) => (incident ? `?incident=${encodeURIComponent(incident)}` : '');

/** Every request that the page makes; each rejects with a `Problem` or as `Unconfirmed`. */
export const api = {
  me: () => call<Me>(path('me')),
  login: (token: string) => call<unknown>(path('login'), { method: 'POST', body: { token } }),
  logout: () => call<unknown>(path('logout'), { method: 'POST' }),
  operation: (operation: string) => call<OperationView>(path('operations', operation)),
  targets: () => call<TargetView[]>(path('targets')),
  incidents: () => call<IncidentSummary[]>(path('incidents')),
  openIncident: (target: string) =>
    call<IncidentOpened>(path('incidents'), { method: 'POST', body: { target } }),
  closeIncident: (incident: string) =>
    call<unknown>(path('incidents', incident, 'close'), { method: 'POST' }),
  prompt: (incident: string, text: string, model: string) =>
    call<PromptTaken>(path('incidents', incident, 'prompts'), {
      method: 'POST',
      body: { text, model },
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

/** Where an incident's report can be downloaded. */
export const reportUrl = (incident: string) => path('incidents', incident, 'report.md');
