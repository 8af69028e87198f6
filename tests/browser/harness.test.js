// Tests of the test harness: a process that does not end is named, killed by its pid, and fails the run.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { browserPid, closeBrowser, openContext } from './support/browser.js';
import { within } from './support/cleanup.js';

after(() => closeBrowser());

const stage = (seconds, script) =>
  spawnSync(fileURLToPath(new URL('../../scripts/stage.sh', import.meta.url)), [seconds, 'sh', '-c', script], {
    encoding: 'utf8',
    timeout: 60_000,
  });

/** Whether the process runs. A zombie does not. */
function isAlive(pid) {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

test('a stage keeps the exit code of its command', () => {
  assert.equal(stage('30', 'exit 7').status, 7);
  assert.equal(stage('30', 'true').status, 0);
});

test('a stage that exceeds its deadline fails, names its processes and kills them', () => {
  const { status, stdout, stderr } = stage('1', "trap '' TERM; echo $$; while :; do sleep 1; done");
  assert.equal(status, 124);
  assert.match(stderr, /did not end within 1 s/);
  assert.match(stderr, new RegExp(`^ *${stdout.trim()} .*sh -c`, 'm'));
  assert.equal(isAlive(Number(stdout)), false);
});

test('a stage that leaves a process behind fails, names the process and kills it', () => {
  const { status, stdout, stderr } = stage('30', 'setsid sleep 600 >&- 2>&- & echo $!');
  assert.equal(status, 1);
  assert.match(stderr, /left processes behind[^]*sleep 600/);
  assert.equal(isAlive(Number(stdout)), false);
});

test('a browser that does not close is killed', async (t) => {
  const context = await openContext(t);
  await context.newPage();
  await context.close();
  const pid = await browserPid();
  process.kill(-pid, 'SIGSTOP');
  await closeBrowser(undefined, 1_000);
  await within(10_000, 'the browser to be gone', async () => {
    while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 50));
  });
});

test('a wait that times out names what it waited for', async () => {
  const never = within(10, 'the moon', () => new Promise(() => {}));
  await assert.rejects(never, /Waited 0.01 s for the moon/);
});
