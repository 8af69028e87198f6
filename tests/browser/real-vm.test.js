// From the page to a real QEMU: Chromium, server, sshd, gate, libvirt, and a guest with real faults.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { closeBrowser, NETWORK, openContext, opened, screenshot } from './support/browser.js';
import { startLab } from './support/lab.js';
import { hold, openPower, runCheck, verdicts } from './support/page.js';

after(closeBrowser);

/** A guest under plain emulation may take its time, on a machine that others use too. */
const SLOW = { timeout: 120_000 };

async function open(test) {
  const lab = await startLab(test);
  const context = await openContext(test, undefined, NETWORK);
  const page = await context.newPage();
  await page.goto(lab.origin);
  await page.getByLabel('Access token').fill(lab.token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await opened(page);
  return { lab, page };
}

const vital = (page, label, state) =>
  page.locator(`[data-state="${state}"]`).filter({ hasText: label });

/** Cycles by the button; resolves when the verdict says that it runs. */
async function cycle(page) {
  await openPower(page);
  await hold(page, 'cycle');
  const verdict = verdicts(page).filter({ hasText: 'running' }).last();
  await verdict.waitFor(SLOW);
}

test('a guest that panicked is seen dead, cycled, and answers again', async (t) => {
  const { lab, page } = await open(t);
  await vital(page, 'SSH', 'good').waitFor(SLOW);
  await lab.inflict('panic');
  await vital(page, 'SSH', 'dead').waitFor(SLOW);
  await vital(page, 'VM', 'good').waitFor(SLOW);
  await screenshot(page, 'real-vm-panic');
  await cycle(page);
  await lab.inflict('login');
  await vital(page, 'SSH', 'good').waitFor(SLOW);
  await screenshot(page, 'real-vm-cycled');
});

test('QEMU stopped by a signal is told as a dead monitor, and a cycle cures it', async (t) => {
  const { lab, page } = await open(t);
  await vital(page, 'SSH', 'good').waitFor(SLOW);
  await lab.inflict('stop-qemu');
  await runCheck(page, 'status');
  await verdicts(page).filter({ hasText: 'monitor-dead' }).waitFor(SLOW);
  await cycle(page);
  await lab.inflict('login');
  await vital(page, 'SSH', 'good').waitFor(SLOW);
  assert.equal(await page.locator('[data-verb="cycle"]').count(), 1);
});
