import { afterEach, expect, test, vi } from 'vitest';
import type { ApprovalItem } from '../lib/timeline/items';
import { Approvals } from './approvals.svelte';

const request = { approval: 'a', command: 'rm -r /tmp/x' } as ApprovalItem;
type Sent = { url: string; body: unknown };

/** A server that returns these answers in turn, and then closes the connection. */
function server(...answers: (Response | Promise<Response>)[]): Sent[] {
  const sent: Sent[] = [];
  vi.stubGlobal('fetch', (url: string, init: RequestInit) => {
    sent.push({ url, body: JSON.parse(String(init.body)) });
    return answers.shift() ?? Promise.reject(new TypeError('connection lost'));
  });
  return sent;
}
const problem = (status: number, type: string, detail: string) =>
  Response.json({ type, title: '', status, detail }, { status });
const phase = (approvals: Approvals) => approvals.sent.a?.phase;

afterEach(() => vi.unstubAllGlobals());

test('a decision is pending until the server confirms it, and is dropped once the log shows it', async () => {
  let respond: (answer: Response) => void = () => undefined;
  const sent = server(new Promise((resolve) => (respond = resolve)));
  const approvals = new Approvals(() => undefined);
  const decided = approvals.decide('i', request, 'deny', ' Not now. ');
  expect(phase(approvals)).toBe('sending');
  respond(Response.json({}));
  await decided;
  expect(sent).toEqual([
    { url: '/api/incidents/i/approvals/a', body: { decision: 'deny', note: 'Not now.' } },
  ]);
  expect(phase(approvals)).toBe('confirmed');
  approvals.prune([request]);
  expect(phase(approvals)).toBe('confirmed');
  approvals.prune([]);
  expect(phase(approvals)).toBeUndefined();
});

test('a second tap sends nothing while the first decision is sent or after it is confirmed', async () => {
  const sent = server(Response.json({}));
  const approvals = new Approvals(() => undefined);
  const first = approvals.decide('i', request, 'allow');
  await approvals.decide('i', request, 'deny');
  await first;
  await approvals.decide('i', request, 'allow');
  expect(sent).toHaveLength(1);
});

test('a decision without an answer is reported as unknown and can be sent again', async () => {
  server();
  const approvals = new Approvals(() => undefined);
  await approvals.decide('i', request, 'allow');
  expect(approvals.sent.a).toMatchObject({ phase: 'unconfirmed' });
  expect(approvals.sent.a?.message).toContain('not known whether “Allow” arrived');
  server(Response.json({}));
  await approvals.decide('i', request, 'allow');
  expect(phase(approvals)).toBe('confirmed');
});

test('a superseded decision stays until it is dismissed, even if the request is gone', async () => {
  server(problem(409, 'urn:breakglass:settled', 'Denied by bob.'));
  const approvals = new Approvals(() => undefined);
  await approvals.decide('i', request, 'allow');
  approvals.prune([]);
  expect(approvals.sent.a).toMatchObject({
    phase: 'superseded',
    message: 'Denied by bob.',
    command: 'rm -r /tmp/x',
  });
  approvals.dismiss('a');
  expect(approvals.sent).toEqual({});
});

test('a refusal shows the server’s message, and an ended session signs the operator out', async () => {
  server(
    problem(503, 'urn:breakglass:unavailable', 'The log is full.'),
    problem(401, 'urn:breakglass:unauthenticated', 'Sign in.'),
  );
  const signedOut = vi.fn();
  const approvals = new Approvals(signedOut);
  await approvals.decide('i', request, 'allow');
  expect(approvals.sent.a).toMatchObject({ phase: 'refused', message: 'The log is full.' });
  expect(signedOut).not.toHaveBeenCalled();
  await approvals.decide('i', request, 'allow');
  expect(signedOut).toHaveBeenCalledOnce();
});
