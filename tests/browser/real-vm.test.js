// From the page to a real QEMU: Chromium, server, sshd, gate, libvirt, and a guest with real faults.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { closeBrowser, NETWORK, openContext, opened, screenshot } from './support/browser.js';
import { startLab } from './support/lab.js';
import { hold, openPower, runCheck, verdicts } from './support/page.js';

const finding = (page, words) => page.getByLabel('Finding').getByText(words);

/** Waits for a picture; how many of its dots are lit. */
async function lit(picture) {
  await picture.waitFor(SLOW);
  return picture.evaluate(async (img) => {
    await img.decode();
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [img.naturalWidth, img.naturalHeight];
    const context = canvas.getContext('2d');
    context.drawImage(img, 0, 0);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, at) => at % 4 === 1 && value > 99).length;
  });
}

/** Shows the screen as it is now; how many of its dots are lit. */
async function look(page) {
  await openPower(page);
  const shown = page.getByRole('dialog').getByRole('img', { name: /^The screen of devvm at / });
  const earlier = (await shown.count()) > 0 ? await shown.getAttribute('src') : '';
  await page.getByRole('dialog').getByRole('button', { name: /^(Show the screen|Look again)$/ }).click();
  const dots = await lit(shown.and(page.locator(`img:not([src="${earlier}"])`)));
  await page.getByRole('dialog').getByRole('button', { name: 'Close', exact: true }).click();
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  return dots;
}

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
  const earlier = await verdicts(page).count();
  await openPower(page);
  await hold(page, 'cycle');
  await verdicts(page).nth(earlier).filter({ hasText: 'running' }).waitFor(SLOW);
}

// Most of their time is a silence that has to last: the two machines keep it together.
describe('a silent guest that writes nothing', { concurrency: true }, () => {
  test('a guest that panicked is seen dead, cycled, and answers again', async (t) => {
    const { lab, page } = await open(t);
    await vital(page, 'SSH', 'good').waitFor(SLOW);
    const before = await look(page);
    await lab.inflict('panic');
    await vital(page, 'SSH', 'dead').waitFor(SLOW);
    await vital(page, 'VM', 'good').waitFor(SLOW);
    await finding(page, 'the kernel spins, as after a panic').waitFor(SLOW);
    const panicked = await look(page);
    assert.ok(panicked > before + 1_000, `the panic's words: ${panicked} dots after ${before}`);
    await screenshot(page, 'real-vm-panic');
    await cycle(page);
    const kept = page.getByTestId('kept-picture').getByRole('img').last();
    assert.ok((await lit(kept)) > before + 1_000, 'the panic is kept under the cycle');
    await lab.inflict('login');
    await vital(page, 'SSH', 'good').waitFor(SLOW);
    await screenshot(page, 'real-vm-cycled');
  });

  test('a frozen disk is told from a panic; reset does not help, cycle does', async (t) => {
    const { lab, page } = await open(t);
    await vital(page, 'SSH', 'good').waitFor(SLOW);
    await lab.inflict('freeze');
    await vital(page, 'SSH', 'dead').waitFor(SLOW);
    await vital(page, 'VM', 'good').waitFor(SLOW);
    await finding(page, /the processor rests .* an I\/O stall/).waitFor(SLOW);
    await screenshot(page, 'real-vm-frozen');
    await openPower(page);
    await hold(page, 'reset');
    await verdicts(page).filter({ hasText: 'running' }).last().waitFor(SLOW);
    await lab.inflict('boot-hangs');
    await vital(page, 'SSH', 'dead').waitFor(SLOW);
    await cycle(page);
    await lab.inflict('login');
    await vital(page, 'SSH', 'good').waitFor(SLOW);
    await screenshot(page, 'real-vm-thawed');
  });
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
