// Starts `breakglass serve`, with its own configuration, and other programs for one test. Leaves what
// the page shows to page.js.
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
/** The folder of the programs that cargo built. */
export const target = `${root}target/debug/`;

/**
 * Starts a server whose guest and host are unreachable. Resolves to its origin, token and key file.
 * `agents` as for `serve`.
 */
export async function serveUnreachable(test, agents = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'breakglass-key-'));
  atEnd(test, dir, () => rmSync(dir, { recursive: true, force: true }));
  const key = `${dir}/key`;
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
  const endpoint = async () => ({ host: '127.0.0.1', port: await freePort(), user: 'nobody' });
  const server = await serve(test, { host: await endpoint(), guest: await endpoint(), key }, agents);
  return { ...server, key };
}

/**
 * Starts a server with the key in file `key`, and opens an incident. `agent` is the content of the
 * table `[agent]`, with the API key `modelKey`; `more` are further tables.
 */
export async function serve(test, { host, guest, key }, { agent, modelKey, more = '' } = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'breakglass-serve-'));
  atEnd(test, dir, () => rmSync(dir, { recursive: true, force: true }));
  const token = randomBytes(32).toString('hex');
  const listen = `127.0.0.1:${await freePort()}`;
  const inline = ({ host: address, port, user }) =>
    `{ host = "${address}", port = ${port}, user = "${user}" }`;
  const config = [
    `listen = "${listen}"`,
    `data_dir = "${dir}/data"`,
    `[auth]\ntoken_file = "${dir}/token"`,
    `[ssh]\nkey_file = "${key}"\nhost_keys = "trust-first"`,
    agent ? `[agent]\napi_key_file = "${dir}/model-key"\n${agent}` : '[agent]\nenabled = false',
    `[[targets]]\nname = "devvm"\nguest = ${inline(guest)}\nhost = ${inline(host)}\n`,
    more,
  ];
  if (modelKey) writeFileSync(`${dir}/model-key`, modelKey, { mode: 0o600 });
  writeFileSync(`${dir}/token`, token, { mode: 0o600 });
  writeFileSync(`${dir}/config.toml`, config.join('\n'));
  const child = start(test, `${target}breakglass`, ['serve', '--config', `${dir}/config.toml`]);
  child.stdout.resume();
  const origin = `http://${listen}`;
  await untilHealthy(`${origin}/health`);
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ target: 'devvm' });
  const opened = await fetch(`${origin}/api/incidents`, { method: 'POST', headers, body, signal: requestTimeout() });
  if (opened.status !== 201) throw new Error(await opened.text());
  return { origin, token };
}

/** Starts a program for one test. Without arguments it ends when its standard input closes. */
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
 * A loopback port on which nothing listens. It is below the ephemeral ports, so the system assigns
 * it to no other process meanwhile.
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

const requestTimeout = () => AbortSignal.timeout(30_000);

async function untilHealthy(url) {
  const end = Date.now() + 60_000;
  for (;;) {
    const answer = await fetch(url, { signal: requestTimeout() }).catch(() => undefined);
    if (answer?.ok) return;
    if (Date.now() > end) throw new Error(`${url} does not answer`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
