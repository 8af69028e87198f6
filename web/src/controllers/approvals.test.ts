import { afterEach, expect, test, vi } from 'vitest';
import type { ApprovalItem } from '../lib/timeline/items';
import { Approvals } from './approvals.svelte';

const question = { approval: 'a', command: 'rm -r /tmp/x' } as ApprovalItem;
type Sent = { url: string; body: unknown };

/** A server that answers each request in turn; one without an answer left hangs up. */
function server(...answers: (Response | Promise<Response>)[]): Sent[] {
  const sent: Sent[] = [];
  vi.stubGlobal('fetch', (url: string, init: RequestInit) => {
    sent.push({ url, body: JSON.parse(String(init.body)) });
    return answers.shift() ?? Promise.reject(new TypeError('the line is dead'));
  });
  return sent;
}
const problem = (status: number, type: string, detail: string) =>
  Response.json({ type, title: '', status, detail }, { status });
const phase = (approvals: Approvals) => approvals.sent.a?.phase;

afterEach(() => vi.unstubAllGlobals());

test('an answer is pending until the server confirms it, and goes when the log holds it', async () => {
  let arrive: (answer: Response) => void = () => undefined;
  const sent = server(new Promise((resolve) => (arrive = resolve)));
  const approvals = new Approvals(() => undefined);
  const decided = approvals.decide('i', question, 'deny', ' Not now. ');
  expect(phase(approvals)).toBe('sending');
  arrive(Response.json({}));
  await decided;
  expect(sent).toEqual([
    { url: '/api/incidents/i/approvals/a', body: { decision: 'deny', note: 'Not now.' } },
  ]);
  expect(phase(approvals)).toBe('confirmed');
  approvals.settle([question]);
  expect(phase(approvals)).toBe('confirmed');
  approvals.settle([]);
  expect(phase(approvals)).toBeUndefined();
});

test('a second tap sends nothing while the first is on its way or has taken effect', async () => {
  const sent = server(Response.json({}));
  const approvals = new Approvals(() => undefined);
  const first = approvals.decide('i', question, 'allow');
  await approvals.decide('i', question, 'deny');
  await first;
  await approvals.decide('i', question, 'allow');
  expect(sent).toHaveLength(1);
});

test('an answer into a dead line says that it is not known, and can be given again', async () => {
  server();
  const approvals = new Approvals(() => undefined);
  await approvals.decide('i', question, 'allow');
  expect(approvals.sent.a).toMatchObject({ phase: 'unconfirmed' });
  expect(approvals.sent.a?.message).toContain('not known whether “Allow” arrived');
  server(Response.json({}));
  await approvals.decide('i', question, 'allow');
  expect(phase(approvals)).toBe('confirmed');
});

test('what was settled before stays to be read, though the question is gone', async () => {
  server(problem(409, 'urn:breakglass:settled', 'Denied by bob.'));
  const approvals = new Approvals(() => undefined);
  await approvals.decide('i', question, 'allow');
  approvals.settle([]);
  expect(approvals.sent.a).toMatchObject({
    phase: 'settled',
    message: 'Denied by bob.',
    command: 'rm -r /tmp/x',
  });
  approvals.dismiss('a');
  expect(approvals.sent).toEqual({});
});

test('a refusal is shown in the server’s words, and a lost session is told', async () => {
  server(
    problem(503, 'urn:breakglass:unavailable', 'The log is full.'),
    problem(401, 'urn:breakglass:unauthenticated', 'Sign in.'),
  );
  const signedOut = vi.fn();
  const approvals = new Approvals(signedOut);
  await approvals.decide('i', question, 'allow');
  expect(approvals.sent.a).toMatchObject({ phase: 'refused', message: 'The log is full.' });
  expect(signedOut).not.toHaveBeenCalled();
  await approvals.decide('i', question, 'allow');
  expect(signedOut).toHaveBeenCalledOnce();
});
