import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { violations } from './support/axe.js';
import {
  closeBrowser,
  DESKTOP,
  openContext,
  opened,
  PHONE,
  screenshot,
  signIn,
  SMALL_PHONE,
} from './support/browser.js';
import { startDrill } from './support/drill.js';
import { allowRepair, ask, holdButton, layoutProblems, openPower } from './support/page.js';
import { startProxy } from './support/proxy.js';

after(closeBrowser);

const FIRST_VISIT_BYTES = 60_000;

for (const colorScheme of ['dark', 'light']) {
  test(`the page is accessible in ${colorScheme}`, async (t) => {
    const { link } = await startDrill(t);
    const page = await signIn(t, link, { ...PHONE, deviceScaleFactor: 2, colorScheme });
    assert.deepEqual(await violations(page), []);
    await ask(page, 'What is wrong?');
    await allowRepair(page);
    await page.locator('[data-outcome="done"]').waitFor({ timeout: 120_000 });
    assert.deepEqual(await violations(page), []);
    await screenshot(page, `phone-${colorScheme}`);
    await openPower(page);
    assert.deepEqual(await violations(page), []);
    await screenshot(page, `power-${colorScheme}`);
  });
}

test('the sign-in page is accessible', async (t) => {
  const { origin } = await startDrill(t);
  const page = await (await openContext(t, PHONE, /401/)).newPage();
  await page.goto(origin);
  await page.getByLabel('Access token').waitFor();
  assert.deepEqual(await violations(page), []);
  await screenshot(page, 'sign-in');
});

test('on a desktop the power panel is next to the timeline', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link, DESKTOP);
  await ask(page, 'What is wrong?');
  await allowRepair(page);
  await page.locator('[data-outcome="done"]').waitFor({ timeout: 120_000 });
  assert.ok(await holdButton(page, 'cycle').isVisible());
  assert.deepEqual(await violations(page), []);
  await screenshot(page, 'desktop');
});

test('on a small phone nothing overflows and every button is large enough', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link, SMALL_PHONE);
  await ask(page, 'What is wrong?');
  await allowRepair(page);
  await page.locator('[data-outcome="done"]').waitFor({ timeout: 120_000 });
  await openPower(page);
  assert.deepEqual(await layoutProblems(page), []);
  await screenshot(page, 'small-phone-power');
});

test('the first visit transfers at most 60 kB including headers', async (t) => {
  const { link, origin } = await startDrill(t);
  const proxy = await startProxy(t, origin);
  const page = await (await openContext(t)).newPage();
  await page.goto(link.replace(origin, proxy.origin));
  await opened(page);
  await page.evaluate(() => navigator.serviceWorker.ready);
  t.diagnostic(`first visit: ${proxy.bytes()} bytes`);
  assert.ok(proxy.bytes() <= FIRST_VISIT_BYTES, `${proxy.bytes()} bytes`);
});

test('the page opens without a network and shows the time of the last contact', async (t) => {
  const { link, origin } = await startDrill(t);
  const proxy = await startProxy(t, origin);
  const page = await (await openContext(t, PHONE, /net::ERR_|Failed to load/)).newPage();
  await page.goto(link.replace(origin, proxy.origin));
  await opened(page);
  await page.evaluate(() => navigator.serviceWorker.ready);
  proxy.down();
  await page.reload();
  await page.getByText('No connection to the server.').waitFor();
  await page.getByText('Last contact').waitFor();
  proxy.up();
  await opened(page);
});
