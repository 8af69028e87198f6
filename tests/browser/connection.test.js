import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { closeBrowser, NETWORK, opened, secondTab, signIn } from './support/browser.js';
import { startDrill } from './support/drill.js';
import { hold, offlineBar, openPower, runCheck, sameItems, verdicts } from './support/page.js';
import { startProxy } from './support/proxy.js';

after(closeBrowser);

/** One page on a direct line, and one of the same operator behind the proxy. */
async function pages(t) {
  const { link, origin } = await startDrill(t);
  const proxy = await startProxy(t, origin);
  const near = await signIn(t, link, undefined, NETWORK);
  const far = await secondTab(near, proxy.origin);
  return { near, far, proxy };
}

test('a dead line is said so, and what was missed comes once when it is back', async (t) => {
  const { near, far, proxy } = await pages(t);
  proxy.down();
  await offlineBar(far).waitFor();
  await runCheck(near, 'status');
  await verdicts(near).waitFor();
  proxy.up();
  await offlineBar(far).waitFor({ state: 'detached' });
  await verdicts(far).waitFor();
  await sameItems(far, near);
});

test('an action into a dead line is offered again and runs once', async (t) => {
  const { near, far, proxy } = await pages(t);
  // The request gets through, the answer does not.
  await far.route('**/verbs/cycle*', async (route) => {
    await route.fetch();
    await route.abort();
  });
  await openPower(far);
  await hold(far, 'cycle');
  const again = far.getByRole('button', { name: 'Send cycle again' });
  await again.waitFor();
  await far.unroute('**/verbs/cycle*');
  proxy.down();
  await offlineBar(far).waitFor();
  await far.reload().catch(() => undefined);
  proxy.up();
  await far.goto(proxy.origin);
  await opened(far);
  await again.click();
  await again.waitFor({ state: 'detached' });
  await verdicts(far).waitFor({ timeout: 120_000 });
  await verdicts(near).waitFor();
  for (const page of [near, far]) {
    assert.equal(await page.locator('[data-verb="cycle"]').count(), 1);
  }
});
