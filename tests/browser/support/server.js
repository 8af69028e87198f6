// `breakglass serve` with a configuration of its own, ended with its test.
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { atEnd } from './cleanup.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
/** Where cargo puts the programs. */
export const target = `${root}target/debug/`;

/**
 * A server whose guest and host are both down; resolves to its address, token and key file. `agents` as for
 * [serve].
 */
export async function serveNobody(test, agents = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'breakglass-key-'));
  atEnd(test, dir, () => rmSync(dir, { recursive: true, force: true }));
  const key = `${dir}/key`;
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
  const place = async () => ({ host: '127.0.0.1', port: await freePort(), user: 'nobody' });
  const server = await serve(test, { host: await place(), guest: await place(), key }, agents);
  return { ...server, key };
}

/**
 * Starts a server with the key in that file, and opens an incident. `agent` is the body of its table, with
 * `modelKey`; `more` are further tables.
 */
export async function serve(test, { host, guest, key }, { agent, modelKey, more = '' } = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'breakglass-serve-'));
  atEnd(test, dir, () => rmSync(dir, { recursive: true, force: true }));
  const token = randomBytes(32).toString('hex');
  const listen = `127.0.0.1:${await freePort()}`;
  const place = ({ host: address, port, user }) =>
    `{ host = "${address}", port = ${port}, user = "${user}" }`;
  const config = [
    `listen = "${listen}"`,
    `data_dir = "${dir}/data"`,
    `[auth]\ntoken_file = "${dir}/token"`,
    `[ssh]\nkey_file = "${key}"\nhost_keys = "trust-first"`,
    agent ? `[agent]\napi_key_file = "${dir}/model-key"\n${agent}` : '[agent]\nenabled = false',
    `[[targets]]\nname = "devvm"\nguest = ${place(guest)}\nhost = ${place(host)}\n`,
    more,
  ];
  if (modelKey) writeFileSync(`${dir}/model-key`, modelKey, { mode: 0o600 });
  writeFileSync(`${dir}/token`, token, { mode: 0o600 });
  writeFileSync(`${dir}/config.toml`, config.join('\n'));
  const child = start(test, `${target}breakglass`, ['serve', '--config', `${dir}/config.toml`]);
  child.stdout.resume();
  const origin = `http://${listen}`;
  await answers(`${origin}/health`);
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ target: 'devvm' });
  const opened = await fetch(`${origin}/api/incidents`, { method: 'POST', headers, body, signal: soon() });
  if (opened.status !== 201) throw new Error(await opened.text());
  return { origin, token };
}

/** Starts a program, which ends with the test: without arguments by the end of its input. */
export function start(test, program, args) {
  if (!existsSync(program)) {
    throw new Error(`${program} is missing. Build it: ./just browser`);
  }
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  atEnd(test, program, async () => {
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

/**
 * A port of loopback where nobody listens. Below those that the system gives to whoever asks for
 * any, and to whoever connects: nobody gets it by chance meanwhile.
 */
export async function freePort() {
  for (;;) {
    const port = randomInt(12_000, 20_000);
    const probe = createServer().listen(port, '127.0.0.1');
    const taken = await once(probe, 'listening').catch((error) => error);
    if (taken instanceof Error) continue;
    probe.close();
    await once(probe, 'close');
    return port;
  }
}

/** Ends a request that nothing answers. */
const soon = () => AbortSignal.timeout(30_000);

async function answers(url) {
  const end = Date.now() + 60_000;
  for (;;) {
    const answer = await fetch(url, { signal: soon() }).catch(() => undefined);
    if (answer?.ok) return;
    if (Date.now() > end) throw new Error(`${url} does not answer`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
