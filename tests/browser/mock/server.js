#!/usr/bin/env node
// A stand-in for the server while the page is developed: in memory, one target, scripted agent.
import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { extname, join } from 'node:path';
import { brotliCompressSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';

const dist = fileURLToPath(new URL('../../../web/dist/', import.meta.url));
const speed = Number(process.env.MOCK_SPEED ?? 1);
const sleep = (ms) => new Promise((r) => setTimeout(r, ms / speed));
const now = () => new Date().toISOString();
const started = now();
const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.png': 'image/png', '.webmanifest': 'application/manifest+json' };

const vitals = {
  target: 'devvm',
  ssh: { state: 'good', text: 'answers in 12 ms', since: started, seen: started },
  vm: { state: 'good', text: 'running', since: started, seen: started },
};
const verbs = [
  ['status', false, "Tells the guest's run state. Changes nothing."],
  ['forensics', false, 'Captures the evidence on the host. Changes nothing.'],
  ['start', true, 'Starts the guest. Nothing is lost.'],
  ['stop', true, "Ends the guest's QEMU process. Unsaved work in the guest is lost, and it stays off."],
  ['reset', true, 'Warm reset, like the reset button. Unsaved work is lost; the QEMU process stays, so staged config does not apply and an I/O stall in QEMU is not cured.'],
  ['cycle', true, 'Full stop and start: a fresh QEMU process. Unsaved work is lost; staged config applies; cures an I/O stall.'],
].map(([verb, mutating, description]) => ({ verb, mutating, description }));

const incidents = new Map();
const keys = new Map();
let code = randomUUID();
const session = randomUUID();

function open() {
  const incident = { id: randomUUID(), events: [], readers: new Set(), opened_at: now() };
  incidents.set(incident.id, incident);
  append(incident, 'operator:drill', { kind: 'incident_opened', target: 'devvm', drill: true });
  append(incident, 'system', { kind: 'notice', level: 'warning', code: 'drill', message: 'Rehearsal “disk-full”: the guest’s disk is full and its service is down. Nothing real is touched.' });
  return incident;
}
function send(incident, text) { for (const r of incident.readers) r.write(text); }
function render(e) { return `id: ${e.seq}\nevent: ${e.kind}\ndata: ${JSON.stringify(e)}\n\n`; }
function append(incident, actor, body) {
  const seq = incident.events.length + 1;
  const event = { seq, at: now(), actor, ...body, hash: createHash('sha256').update(String(seq)).digest('hex') };
  incident.events.push(event);
  send(incident, render(event));
}
function frame(incident, f) { send(incident, `event: ${f.frame}\ndata: ${JSON.stringify(f)}\n\n`); }

async function runVerb(incident, verb, operation) {
  append(incident, 'operator:drill', { kind: 'verb_started', operation, target: 'devvm', verb });
  incident.running = operation;
  const lines = ['forensics: capturing evidence before cycle', ...Array.from({ length: 9 }, (_, i) => `forensics: ${['qm config', 'qm status', 'monitor info block', 'process state', 'kernel stack', 'threads', 'dmesg tail', 'io counters', 'lock'][i]} · 4${i} ms`), 'stop: QEMU process 4711 ended', 'start: QEMU process 4890, new', 'monitor: answers'];
  for (const line of verb === 'status' ? ['run state: running', 'pid: 4711'] : lines) {
    await sleep(120);
    append(incident, 'system', { kind: 'verb_output', operation, stream: 'stdout', line });
  }
  append(incident, 'system', { kind: 'verb_output', operation, stream: 'stdout', line: 'verdict: running' });
  append(incident, 'system', { kind: 'verb_finished', operation, target: 'devvm', verb, outcome: 'done', verdict: 'running', exit_code: 0, message: `${verb} is done; the guest runs.`, duration_ms: 2100, omitted_lines: 0 });
  incident.running = undefined;
}

const answer = 'The root file system is **full**: `/var/log/app` holds 18 GB of one log.\n\n1. `app.service` failed with `No space left on device`.\n2. Nothing else is wrong: memory and load are normal.\n\nI would truncate `/var/log/app/debug.log` and restart `app.service`. <img src=x onerror=alert(1)> stays text.\n\n| mount | used |\n|---|---|\n| / | 100 % |\n';
async function runTurn(incident, text, model) {
  const turn = (incident.turns = (incident.turns ?? 0) + 1);
  const begun = Date.now();
  incident.turn = { turn, stopped: false };
  append(incident, 'operator:drill', { kind: 'prompt', turn, text });
  append(incident, 'agent', { kind: 'turn_started', turn, model, session: randomUUID() });
  const say = async (words) => {
    incident.typing = '';
    for (const piece of words.match(/.{1,6}/gs)) {
      if (incident.turn.stopped) return;
      await sleep(25);
      incident.typing += piece;
      frame(incident, { frame: 'text_delta', turn, text: piece });
    }
    incident.typing = undefined;
    append(incident, 'agent', { kind: 'text', turn, text: words });
  };
  const tool = async (id, command, output) => {
    if (incident.turn.stopped) return;
    append(incident, 'agent', { kind: 'tool_started', turn, tool_call: id + turn, tool: 'Bash', summary: command, input: { command } });
    await sleep(500);
    append(incident, 'agent', { kind: 'tool_finished', turn, tool_call: id + turn, is_error: false, output, omitted_bytes: 0 });
  };
  await say('I look at the disk first.');
  await tool('a', 'ssh devvm df -h', 'Filesystem      Size  Used Avail Use% Mounted on\n/dev/vda1        40G   40G     0 100% /\ntmpfs           3.9G  1.1M  3.9G   1% /run\n');
  await tool('b', 'ssh devvm journalctl -u app.service -n 40 --no-pager', Array.from({ length: 40 }, (_, i) => `Nov 23 03:1${i % 10}:0${i % 6} devvm app[812]: write /var/lib/app/queue: No space left on device (attempt ${i})`).join('\n'));
  await say(answer);
  append(incident, 'agent', { kind: 'turn_ended', turn, outcome: incident.turn.stopped ? 'stopped' : 'done', duration_ms: Date.now() - begun, cost_usd: 0.0123 });
  incident.turn = undefined; incident.typing = undefined;
}

const summary = (i) => ({ incident: i.id, target: 'devvm', drill: true, opened_at: i.opened_at, closed_at: i.closed_at, head: i.events.length, last_at: i.events.at(-1).at });
const json = (res, status, body) => { res.writeHead(status, { 'content-type': status < 400 ? 'application/json' : 'application/problem+json', 'cache-control': 'no-store' }); res.end(JSON.stringify(body)); };
const problem = (res, status, title, detail, more = {}) => json(res, status, { type: 'about:blank', title, status, detail, ...more });
async function body(req) { let t = ''; for await (const c of req) t += c; return t ? JSON.parse(t) : {}; }

async function api(req, res, parts) {
  if (parts[0] === 'login') {
    const { token } = await body(req);
    if (token !== code && token !== 'token') return problem(res, 401, 'Not signed in', 'Unknown token.');
    if (token === code) code = randomUUID();
    res.setHeader('set-cookie', `breakglass_session=${session}; HttpOnly; SameSite=Strict; Path=/`);
    return json(res, 200, { identity: 'drill' });
  }
  if (!(req.headers.cookie ?? '').includes(session)) return problem(res, 401, 'Not signed in', 'Sign in first.');
  const input = req.method === 'POST' ? await body(req) : {};
  const route = `${req.method} ${parts[0]}`;
  if (route === 'POST logout') { res.setHeader('set-cookie', 'breakglass_session=; Path=/; Max-Age=0'); return json(res, 200, {}); }
  if (route === 'GET me') return json(res, 200, { identity: 'drill', drill: true, version: '0.1.0', agent: { available: process.env.MOCK_AGENT !== 'no', message: process.env.MOCK_AGENT === 'no' ? 'claude is not installed.' : null, model: 'sonnet', models: ['sonnet', 'opus', 'haiku'] }, autonomy: 'autonomous' });
  if (route === 'GET targets') return json(res, 200, [{ name: 'devvm', guest_address: '127.0.0.1:1', host_address: '127.0.0.1:2', vitals, verbs, running_operation: null }]);
  if (route === 'POST targets') {
    const key = req.headers['idempotency-key'];
    if (keys.has(key)) return json(res, 202, { ...keys.get(key), replayed: true });
    const incident = [...incidents.values()].findLast((i) => !i.closed_at) ?? open();
    if (incident.running) return problem(res, 409, 'Busy', 'cycle runs on devvm since a moment ago.', { operation: incident.running });
    const accepted = { operation: randomUUID(), incident: incident.id };
    keys.set(key, accepted);
    void runVerb(incident, parts[3], accepted.operation);
    return json(res, 202, accepted);
  }
  if (route === 'GET incidents' && parts.length === 1) return json(res, 200, [...incidents.values()].reverse().map(summary));
  if (route === 'POST incidents' && parts.length === 1) return json(res, 201, { incident: open().id });
  const incident = incidents.get(parts[1]);
  if (!incident) return problem(res, 404, 'Unknown', 'No such incident.');
  if (parts[2] === 'events') {
    const last = Number(req.headers['last-event-id'] ?? 0);
    res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    res.write(incident.events.slice(last).map(render).join('') + `event: caught-up\ndata: {"seq":${incident.events.length}}\n\n`);
    if (incident.typing) res.write(`event: text_snapshot\ndata: ${JSON.stringify({ frame: 'text_snapshot', turn: incident.turn.turn, text: incident.typing })}\n\n`);
    incident.readers.add(res);
    res.on('close', () => incident.readers.delete(res));
    return;
  }
  if (parts[2] === 'prompts') {
    if (incident.turn) return problem(res, 409, 'Busy', 'A turn is running; stop it first.');
    void runTurn(incident, input.text, input.model);
    return json(res, 202, { turn: incident.turn.turn });
  }
  if (parts[2] === 'stop') { if (incident.turn) incident.turn.stopped = true; return json(res, 200, {}); }
  if (parts[2] === 'close') { incident.closed_at = now(); append(incident, 'operator:drill', { kind: 'incident_closed' }); return json(res, 200, {}); }
  if (parts[2] === 'report.md') { res.writeHead(200, { 'content-type': 'text/markdown' }); return res.end('# report'); }
  problem(res, 404, 'Unknown', 'No such route.');
}

const csp = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const server = http.createServer(async (req, res) => {
  const path = new URL(req.url, 'http://x').pathname;
  try {
    if (path.startsWith('/api/')) return await api(req, res, path.slice(5).split('/'));
    const file = path === '/' ? 'index.html' : path.slice(1);
    const data = await readFile(join(dist, file));
    res.writeHead(200, { 'content-type': types[extname(file)], 'content-encoding': 'br', 'content-security-policy': csp, 'cache-control': file.startsWith('assets/') ? 'public, max-age=31536000, immutable' : 'no-cache' });
    res.end(brotliCompressSync(data));
  } catch { if (!res.headersSent) res.writeHead(404); res.end(); }
});
setInterval(() => { for (const i of incidents.values()) { send(i, ': keep-alive\n\n'); frame(i, { frame: 'vitals', ...vitals }); } }, 3000);
const first = open();
if (process.env.MOCK_EVENTS) for (let i = 0; i < Number(process.env.MOCK_EVENTS); i++) append(first, 'system', { kind: 'notice', level: 'info', code: 'fill', message: `Event number ${i}: something of no great interest happened on the machine.` });
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/#sign-in=${code}`));
