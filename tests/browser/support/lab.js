// A real machine to save, and `breakglass serve` before it: QEMU under libvirt, sshd with the gate.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { atEnd } from './cleanup.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const target = `${root}target/debug/`;
/** A guest boots in seconds; its images are built before the first one does. */
const LAB_MS = 180_000;

/** Starts machine and server; resolves to what a test does with them. */
export async function startLab(test) {
  const machine = start(test, `${target}examples/lab-target`, []);
  const lines = createInterface({ input: machine.stdout })[Symbol.asyncIterator]();
  const addresses = JSON.parse(await next(lines, 'the machine'));
  const server = await serve(test, addresses);
  return {
    ...server,
    /** Does this to the machine; resolves when it is done. */
    inflict: async (fault) => {
      machine.stdin.write(`${fault}\n`);
      const answer = await next(lines, fault);
      if (answer !== 'done') throw new Error(`${fault}: ${answer}`);
    },
  };
}

async function serve(test, { host, guest, key }) {
  const dir = mkdtempSync(join(tmpdir(), 'breakglass-lab-'));
  atEnd(test, () => rmSync(dir, { recursive: true, force: true }));
  const token = randomBytes(32).toString('hex');
  const listen = `127.0.0.1:${await freePort()}`;
  const place = ({ host: address, port, user }) =>
    `{ host = "${address}", port = ${port}, user = "${user}" }`;
  const config = [
    `listen = "${listen}"`,
    `data_dir = "${dir}/data"`,
    `[auth]\ntoken_file = "${dir}/token"`,
    `[ssh]\nkey_file = "${key}"\nhost_keys = "trust-first"`,
    '[agent]\nenabled = false',
    `[[targets]]\nname = "devvm"\nguest = ${place(guest)}\nhost = ${place(host)}\n`,
  ];
  writeFileSync(`${dir}/token`, token, { mode: 0o600 });
  writeFileSync(`${dir}/config.toml`, config.join('\n'));
  const child = start(test, `${target}breakglass`, ['serve', '--config', `${dir}/config.toml`]);
  child.stdout.resume();
  const origin = `http://${listen}`;
  await answers(`${origin}/health`);
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ target: 'devvm' });
  const opened = await fetch(`${origin}/api/incidents`, { method: 'POST', headers, body });
  if (opened.status !== 201) throw new Error(await opened.text());
  return { origin, token };
}

function start(test, program, args) {
  if (!existsSync(program)) {
    throw new Error(`${program} is missing. Build it: ./just browser`);
  }
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  atEnd(test, async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.stdin.end();
    child.kill(args.length === 0 ? 0 : 'SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
    await gone;
    clearTimeout(timer);
  });
  return child;
}

async function next(lines, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing in ${LAB_MS / 1000} s`)), LAB_MS);
  });
  const { value, done } = await Promise.race([lines.next(), late]);
  clearTimeout(timer);
  if (done) throw new Error(`${what}: the machine ended`);
  return value;
}

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  return port;
}

async function answers(url) {
  const end = Date.now() + 20_000;
  for (;;) {
    const answer = await fetch(url).catch(() => undefined);
    if (answer?.ok) return;
    if (Date.now() > end) throw new Error(`${url} does not answer`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
