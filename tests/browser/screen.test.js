import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { violations } from './support/axe.js';
import { closeBrowser, NETWORK, screenshot, signIn } from './support/browser.js';
import { startDrill } from './support/drill.js';
import { hold, openPower, verdicts } from './support/page.js';

after(closeBrowser);

/** How many dots the picture is wide, once it is there. */
async function width(picture) {
  await picture.waitFor();
  return picture.evaluate(async (img) => {
    await img.decode();
    return img.naturalWidth;
  });
}

const look = (page) => page.getByRole('button', { name: 'Show the screen' }).first();
const kept = (page) => page.getByTestId('kept-picture').getByRole('img');

test('the screen is shown on demand, and opens as wide as the page', async (t) => {
  const { link } = await startDrill(t, { scenario: 'panic' });
  const page = await signIn(t, link);
  await openPower(page);
  await look(page).click();
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

test('the screen as it was stands under the cycle that ended it', async (t) => {
  const { link } = await startDrill(t, { scenario: 'panic' });
  const page = await signIn(t, link);
  await openPower(page);
  await hold(page, 'cycle');
  await verdicts(page).filter({ hasText: 'running' }).waitFor({ timeout: 120_000 });
  assert.equal(await kept(page).getAttribute('alt'), 'The guest’s screen just before cycle');
  assert.equal(await width(kept(page)), 720);
  await page.getByRole('button', { name: 'Latest' }).waitFor({ state: 'detached' });
  assert.deepEqual(await violations(page), []);
  await screenshot(page, 'kept-screen');
  await page.reload();
  assert.equal(await width(kept(page)), 720);
  await kept(page).click();
  await page.getByRole('dialog', { name: 'The guest’s screen just before cycle' }).waitFor();
});

test('where there is no screen the gate’s sentence says why', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link, undefined, NETWORK);
  await openPower(page);
  await hold(page, 'stop');
  await verdicts(page).filter({ hasText: 'stopped' }).waitFor();
  await openPower(page);
  await look(page).click();
  await page.getByRole('dialog').getByText('the guest has no QEMU process').waitFor();
});

test('what the gate measured is one tap behind the machine’s sign', async (t) => {
  const { link } = await startDrill(t, { scenario: 'io-stall' });
  const page = await signIn(t, link);
  await page.getByRole('button', { name: /^VM .* writes/ }).click();
  const facts = page.getByTestId('machine');
  await facts.getByText('0 writes for').waitFor();
  await facts.getByText('running').waitFor();
  assert.deepEqual(await violations(page), []);
  await screenshot(page, 'machine');
});
