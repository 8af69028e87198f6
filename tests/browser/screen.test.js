import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { violations } from './support/axe.js';
import { closeBrowser, NETWORK, screenshot, signIn } from './support/browser.js';
import { startDrill } from './support/drill.js';
import { hold, openPower, verdicts } from './support/page.js';

after(closeBrowser);

/** Waits for an image and resolves to its width in pixels. */
async function width(image) {
  await image.waitFor();
  return image.evaluate(async (img) => {
    await img.decode();
    return img.naturalWidth;
  });
}

const showScreen = (page) => page.getByRole('button', { name: 'Show the screen' }).first();
const saved = (page) => page.getByTestId('saved-screenshot').getByRole('img');

test('the screen is shown on request and can be enlarged', async (t) => {
  const { link } = await startDrill(t, { scenario: 'panic' });
  const page = await signIn(t, link);
  await openPower(page);
  await showScreen(page).click();
  const shown = page.getByRole('img', { name: /^The screen of devvm at / }).first();
  assert.equal(await width(shown), 720);
  assert.deepEqual(await violations(page), []);
  await shown.scrollIntoViewIfNeeded();
  await screenshot(page, 'screen');
  await shown.click();
  const large = page.getByRole('dialog', { name: /^The screen of devvm at / });
  await large.waitFor();
  assert.equal(await width(large.getByRole('img')), 720);
  assert.equal((await large.getByRole('img').boundingBox()).width, 390);
  assert.deepEqual(await violations(page), []);
  await screenshot(page, 'screen-large');
  await large.getByRole('button', { name: 'Actual size' }).click();
  assert.equal((await large.getByRole('img').boundingBox()).width, 720);
  await large.getByRole('button', { name: 'Close' }).click();
  await large.waitFor({ state: 'detached' });
});

test('a cycle shows the screenshot from just before it', async (t) => {
  const { link } = await startDrill(t, { scenario: 'panic' });
  const page = await signIn(t, link);
  await openPower(page);
  await hold(page, 'cycle');
  await verdicts(page).filter({ hasText: 'running' }).waitFor({ timeout: 120_000 });
  assert.equal(await saved(page).getAttribute('alt'), 'The guest’s screen just before cycle');
  assert.equal(await width(saved(page)), 720);
  await page.getByRole('button', { name: 'Latest' }).waitFor({ state: 'detached' });
  assert.deepEqual(await violations(page), []);
  await screenshot(page, 'saved-screenshot');
  await page.reload();
  assert.equal(await width(saved(page)), 720);
  await saved(page).click();
  await page.getByRole('dialog', { name: 'The guest’s screen just before cycle' }).waitFor();
});

test('the gate’s message explains a missing screenshot', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link, undefined, NETWORK);
  await openPower(page);
  await hold(page, 'stop');
  await verdicts(page).filter({ hasText: 'stopped' }).waitFor();
  await openPower(page);
  await showScreen(page).click();
  await page.getByRole('dialog').getByText('the guest has no QEMU process').waitFor();
});

test('a tap on the VM’s vital sign shows the gate’s measurements', async (t) => {
  const { link } = await startDrill(t, { scenario: 'io-stall' });
  const page = await signIn(t, link);
  await page.getByRole('button', { name: /^VM .* writes/ }).click();
  const facts = page.getByTestId('machine');
  await facts.getByText('0 writes for').waitFor();
  await facts.getByText('running').waitFor();
  assert.deepEqual(await violations(page), []);
  await screenshot(page, 'machine');
});
