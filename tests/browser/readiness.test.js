import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import { after, test } from 'node:test';
import { violations } from './support/axe.js';
import {
  closeBrowser,
  NETWORK,
  openContext,
  opened,
  PHONE,
  screenshot,
  signIn,
  SMALL_PHONE,
} from './support/browser.js';
import { startDrill } from './support/drill.js';
import { layoutProblems } from './support/page.js';
import { serveUnreachable } from './support/server.js';

after(closeBrowser);

/** Signs in to a server whose machines are unreachable and whose key is world-readable. */
async function open(test, options) {
  const server = await serveUnreachable(test);
  chmodSync(server.key, 0o644);
  const page = await (await openContext(test, options, NETWORK)).newPage();
  await page.goto(server.origin);
  await page.getByLabel('Access token').fill(server.token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await opened(page);
  return { server, page };
}

async function openReadiness(page) {
  await page.getByRole('button', { name: 'Menu' }).click();
  await page.getByRole('link', { name: 'Readiness' }).click();
  await page.getByRole('heading', { name: 'Readiness' }).waitFor();
}

const check = (page, name, state) => page.locator(`[data-check="${name}"][data-state="${state}"]`);

test('a failing check is shown first with its fix, and passes after the fix', async (t) => {
  const { server, page } = await open(t, { ...PHONE, deviceScaleFactor: 2 });
  await openReadiness(page);
  await page.getByRole('button', { name: 'Check now' }).click();
  const key = check(page, 'ssh_key', 'red');
  await key.waitFor({ timeout: 120_000 });
  await check(page, 'devvm.guest.reach', 'red').waitFor();
  assert.match(await key.textContent(), new RegExp(`chmod 600 ${server.key}`));
  await key.getByRole('button', { name: 'Copy' }).click();
  await key.getByRole('button', { name: 'Copied' }).waitFor();
  chmodSync(server.key, 0o600);
  await page.getByRole('button', { name: 'Check now' }).click();
  await check(page, 'ssh_key', 'green').waitFor({ state: 'attached', timeout: 120_000 });
  await page.getByRole('link', { name: 'Back' }).click();
  const note = page.locator('[data-code="readiness_changed"]');
  await note.filter({ hasText: 'ssh key passes' }).waitFor();
  assert.match(
    await page.getByRole('button', { name: 'Menu' }).textContent(),
    /readiness: \d+ failing/,
  );
  await screenshot(page, 'readiness-note');
});

for (const colorScheme of ['dark', 'light']) {
  test(`readiness is accessible in ${colorScheme}`, async (t) => {
    const { page } = await open(t, { ...PHONE, deviceScaleFactor: 2, colorScheme });
    await openReadiness(page);
    await check(page, 'devvm.guest.reach', 'red').waitFor({ timeout: 120_000 });
    assert.deepEqual(await violations(page), []);
    await screenshot(page, `readiness-${colorScheme}`);
    await page.locator('summary').first().click();
    assert.deepEqual(await violations(page), []);
    await page.locator('main').evaluate((main) => main.scrollTo(0, main.scrollHeight));
    await screenshot(page, `readiness-${colorScheme}-end`);
  });
}

test('on a small phone readiness and the menu’s badge fit the screen', async (t) => {
  const { page } = await open(t, SMALL_PHONE);
  await page.getByText(/readiness: \d+ failing/).waitFor({ state: 'attached', timeout: 120_000 });
  assert.deepEqual(await layoutProblems(page), []);
  await screenshot(page, 'small-phone-badge');
  await openReadiness(page);
  await check(page, 'devvm.guest.reach', 'red').waitFor();
  assert.deepEqual(await layoutProblems(page), []);
  await screenshot(page, 'small-phone-readiness');
});

test('a drill shows that it runs no readiness checks', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link, SMALL_PHONE);
  await openReadiness(page);
  await page.getByText('A drill runs no readiness checks').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Check now' }).count(), 0);
  assert.deepEqual(await violations(page), []);
  await screenshot(page, 'drill-readiness');
});
