import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { closeBrowser, signIn } from './support/browser.js';
import { startDrill } from './support/drill.js';
import {
  giveClock,
  hold,
  holdButton,
  openPower,
  press,
  runCheck,
  stopClock,
  verdicts,
} from './support/page.js';

after(closeBrowser);

const verbs = (page, verb) => page.locator(`[data-verb="${verb}"]`);

test('a held cycle runs once, streams its output and ends with a verdict', async (t) => {
  const { link } = await startDrill(t, { scenario: 'io-stall' });
  const page = await signIn(t, link);
  await openPower(page);
  await hold(page, 'cycle');
  await verdicts(page).filter({ hasText: 'running' }).waitFor({ timeout: 120_000 });
  assert.equal(await verbs(page, 'cycle').count(), 1);
  assert.ok((await page.getByLabel('Output of cycle').count()) > 0, 'its output is shown');
  await page.getByRole('button', { name: 'Latest' }).waitFor({ state: 'detached' });
  // The page scrolls a moment after the verdict arrives.
  const bar = await page.getByRole('textbox', { name: 'Ask the agent' }).boundingBox();
  const end = await verdicts(page).last().elementHandle();
  const inView = ([end, top]) => end.getBoundingClientRect().bottom <= top;
  await page.waitForFunction(inView, [end, bar.y]);
});

test('a tap only explains how to hold the button', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link);
  await openPower(page);
  await holdButton(page, 'cycle').click();
  await page.getByText('Press and hold to cycle.').waitFor();
  assert.equal(await verbs(page, 'cycle').count(), 0);
});

test('sliding off the button cancels the hold', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link, undefined, undefined, giveClock);
  await openPower(page);
  await holdButton(page, 'stop').click({ trial: true });
  await stopClock(page);
  await press(page, 'stop');
  await page.clock.runFor(600);
  await page.locator('.hold .done[visibility="visible"]').waitFor({ state: 'attached' });
  await page.mouse.move(20, 20);
  await page.locator('.hold .done[visibility="visible"]').waitFor({ state: 'detached' });
  await page.clock.runFor(1_200);
  await page.mouse.up();
  assert.equal(await verbs(page, 'stop').count(), 0);
});

test('by keyboard, only the typed name of the target confirms a verb', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link);
  await page.getByRole('button', { name: 'Power', exact: true }).focus();
  await page.keyboard.press('Enter');
  await holdButton(page, 'reset').focus();
  await page.keyboard.press('Enter');
  await page.locator('input:focus').waitFor();
  await page.keyboard.type('devv');
  await page.keyboard.press('Enter');
  assert.equal(await verbs(page, 'reset').count(), 0);
  await page.keyboard.type('m');
  await page.keyboard.press('Enter');
  await verbs(page, 'reset').waitFor();
});

test('a read-only verb runs with one tap', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link);
  await runCheck(page, 'status');
  await verdicts(page).first().waitFor();
  assert.equal(await verbs(page, 'status').count(), 1);
});
