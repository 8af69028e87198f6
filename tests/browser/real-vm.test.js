// The whole path with a real QEMU: Chromium, server, sshd, gate, libvirt, and a guest with real faults.
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { closeBrowser, NETWORK, openContext, opened, screenshot } from './support/browser.js';
import { startLab } from './support/lab.js';
import { hold, openPower, runCheck, verdicts } from './support/page.js';

const finding = (page, text) => page.getByLabel('Finding').getByText(text);

/** Waits for an image and counts its bright pixels. */
async function brightPixels(image) {
  await image.waitFor(SLOW);
  return image.evaluate(async (img) => {
    await img.decode();
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [img.naturalWidth, img.naturalHeight];
    const context = canvas.getContext('2d');
    context.drawImage(img, 0, 0);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, at) => at % 4 === 1 && value > 99).length;
  });
}

/** Takes a screenshot and counts its bright pixels. */
async function screenPixels(page) {
  await openPower(page);
  const shown = page.getByRole('dialog').getByRole('img', { name: /^The screen of devvm at / });
  const earlier = (await shown.count()) > 0 ? await shown.getAttribute('src') : '';
  await page.getByRole('dialog').getByRole('button', { name: /^(Show the screen|Refresh)$/ }).click();
  const pixels = await brightPixels(shown.and(page.locator(`img:not([src="${earlier}"])`)));
  await page.getByRole('dialog').getByRole('button', { name: 'Close', exact: true }).click();
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  return pixels;
}

after(closeBrowser);

/** For a guest under emulation on a busy machine. */
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

/** Cycles the guest with the button. Resolves once the verdict is `running`. */
async function cycle(page) {
  const earlier = await verdicts(page).count();
  await openPower(page);
  await hold(page, 'cycle');
  await verdicts(page).nth(earlier).filter({ hasText: 'running' }).waitFor(SLOW);
}

// Both tests mostly wait for a silence to last, so they run concurrently.
describe('a silent guest that writes nothing', { concurrency: true }, () => {
  test('a panicked guest is detected, cycled, and answers again', async (t) => {
    const { lab, page } = await open(t);
    await vital(page, 'SSH', 'good').waitFor(SLOW);
    const before = await screenPixels(page);
    await lab.inflict('panic');
    await vital(page, 'SSH', 'dead').waitFor(SLOW);
    await vital(page, 'VM', 'good').waitFor(SLOW);
    await finding(page, 'the kernel spins, as after a panic').waitFor(SLOW);
    const panicked = await screenPixels(page);
    assert.ok(panicked > before + 1_000, `the panic's text: ${panicked} bright pixels after ${before}`);
    await screenshot(page, 'real-vm-panic');
    await cycle(page);
    const saved = page.getByTestId('saved-screenshot').getByRole('img').last();
    assert.ok((await brightPixels(saved)) > before + 1_000, 'the screenshot below the cycle shows the panic');
    await lab.inflict('login');
    await vital(page, 'SSH', 'good').waitFor(SLOW);
    await screenshot(page, 'real-vm-cycled');
  });

  test('a frozen disk is distinguished from a panic and cured by cycle but not by reset', async (t) => {
    const { lab, page } = await open(t);
    await vital(page, 'SSH', 'good').waitFor(SLOW);
    await lab.inflict('freeze');
    await vital(page, 'SSH', 'dead').waitFor(SLOW);
    await vital(page, 'VM', 'good').waitFor(SLOW);
    await finding(page, /the processor is idle .* an I\/O stall/).waitFor(SLOW);
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

test('QEMU stopped by a signal has a dead monitor and is cured by cycle', async (t) => {
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
