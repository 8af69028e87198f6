// Starts a drill for one test: the real binary on a free port.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { atEnd } from './cleanup.js';

const DEADLINE_MS = 60_000;
const root = fileURLToPath(new URL('../../../', import.meta.url));
const binary = process.env.BREAKGLASS_BIN ?? `${root}target/debug/breakglass`;

/** Starts `breakglass drill`. Resolves to the sign-in link that it printed. */
export async function startDrill(test, { scenario = 'disk-full' } = {}) {
  if (!existsSync(binary)) {
    throw new Error(`${binary} is missing. Build it: cargo build -p breakglass`);
  }
  const args = ['drill', '--listen', '127.0.0.1:0', '--scenario', scenario];
  const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  atEnd(test, 'the drill', () => end(child));
  const link = await firstLink(child);
  return { link, origin: new URL(link).origin };
}

async function firstLink(child) {
  const timer = setTimeout(() => child.kill('SIGKILL'), DEADLINE_MS);
  const lines = createInterface({ input: child.stdout });
  for await (const line of lines) {
    const link = /http:\S+#sign-in=\S+/.exec(line)?.[0];
    if (link === undefined) continue;
    clearTimeout(timer);
    child.stdout.resume();
    return link;
  }
  throw new Error(`${binary} drill printed no sign-in link in ${DEADLINE_MS / 1000} s`);
}

async function end(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGINT');
  const timer = setTimeout(() => child.kill('SIGKILL'), DEADLINE_MS / 2);
  await gone;
  clearTimeout(timer);
}
