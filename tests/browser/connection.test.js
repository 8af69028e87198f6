import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { closeBrowser, NETWORK, opened, screenshot, secondTab, signIn } from './support/browser.js';
import { startDrill } from './support/drill.js';
import {
  giveClock,
  hold,
  offlineBar,
  openPower,
  pressOn,
  runCheck,
  sameItems,
  verdicts,
} from './support/page.js';
import { startProxy } from './support/proxy.js';

after(closeBrowser);

const sendAgain = (page) => page.getByRole('button', { name: 'Send cycle again: press and hold.' });

/** One page with a direct connection, and one of the same operator behind the proxy. */
async function pages(t) {
  const { link, origin } = await startDrill(t);
  const proxy = await startProxy(t, origin);
  const near = await signIn(t, link, undefined, NETWORK);
  const far = await secondTab(near, proxy.origin);
  return { near, far, proxy };
}

test('a lost connection is reported, and missed events arrive once after it is back', async (t) => {
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

test('an unconfirmed verb is sent again by a hold and runs once', async (t) => {
  const { near, far, proxy } = await pages(t);
  // The request gets through, the answer does not.
  await far.route('**/verbs/cycle*', async (route) => {
    await route.fetch();
    await route.abort();
  });
  await openPower(far);
  await hold(far, 'cycle');
  const again = sendAgain(far);
  await again.waitFor();
  await far.unroute('**/verbs/cycle*');
  proxy.down();
  await offlineBar(far).waitFor();
  await far.reload().catch(() => undefined);
  proxy.up();
  await far.goto(proxy.origin);
  await opened(far);
  // A tap sends nothing.
  await again.click();
  await far.getByText('Press and hold to send cycle again').waitFor();
  assert.equal(await far.locator('[data-phase="sending"]').count(), 0);
  await screenshot(far, 'send-again');
  await pressOn(far, again);
  await again.waitFor({ state: 'detached' });
  await far.mouse.up();
  await verdicts(far).waitFor({ timeout: 120_000 });
  await verdicts(near).waitFor();
  for (const page of [near, far]) {
    assert.equal(await page.locator('[data-verb="cycle"]').count(), 1);
  }
});

test('an unconfirmed verb cannot be sent again after two minutes', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link, undefined, NETWORK, giveClock);
  await page.route('**/verbs/cycle*', (route) => route.abort());
  await openPower(page);
  await hold(page, 'cycle');
  await sendAgain(page).waitFor();
  await page.clock.fastForward(121_000);
  await sendAgain(page).waitFor({ state: 'detached' });
  await page.getByText("can't be sent again after 2 min").filter({ visible: true }).waitFor();
  await screenshot(page, 'send-again-expired');
  await page.reload();
  await opened(page);
  await page.getByText("can't be sent again after 2 min").filter({ visible: true }).waitFor();
  assert.equal(await sendAgain(page).count(), 0);
  await page.getByRole('button', { name: 'Dismiss' }).click();
  await page
    .getByText("can't be sent again")
    .filter({ visible: true })
    .waitFor({ state: 'detached' });
});
