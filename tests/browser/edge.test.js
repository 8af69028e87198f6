import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { violations } from './support/axe.js';
import { closeBrowser, NETWORK, openContext, opened, screenshot } from './support/browser.js';
import { startDrill } from './support/drill.js';
import { startEdge } from './support/edge.js';
import { hold, misfits, offlineBar, openPower, runCheck, verdicts } from './support/page.js';

after(closeBrowser);

/** What the browser says of an answer that is no asset, besides what it says of a cut line. */
const SIGNED_OUT = new RegExp(`${NETWORK.source}|MIME type|Failed to load module|Redirect`);

const bar = (page) => page.getByTestId('signed-out-at-edge');
const again = (page) => page.getByRole('button', { name: 'Sign in again' });

/** Waits for these words where they are seen: on a desktop the panel beside has them too. */
const shown = (page, words) => page.getByText(words).filter({ visible: true }).first().waitFor();

/** A page that is signed in and live behind an edge. */
async function behindEdge(t) {
  const { link, origin } = await startDrill(t);
  const edge = await startEdge(t, origin);
  const context = await openContext(t, undefined, SIGNED_OUT);
  const page = await context.newPage();
  await page.goto(link.replace(origin, edge.origin));
  await opened(page);
  return { page, edge, context };
}

/** The session at the edge ends, this is what it answers, and somebody signs in in another tab. */
async function signedOut(t, how) {
  const { page, edge } = await behindEdge(t);
  edge.signOut(how);
  await bar(page).waitFor();
  assert.equal(await offlineBar(page).count(), 0);
  assert.deepEqual(await misfits(page), []);
  assert.deepEqual(await violations(page), []);
  await screenshot(page, 'edge-signed-out');
  edge.signIn();
  await bar(page).waitFor({ state: 'detached' });
  await runCheck(page, 'status');
  await verdicts(page).waitFor();
}

test('an edge that redirects to its sign-in elsewhere is no lost connection', (t) =>
  signedOut(t, 'elsewhere'));

test('an edge that redirects to its sign-in on this server is no lost connection', (t) =>
  signedOut(t, 'here'));

test('a portal that answers everything with its page is no lost connection', (t) =>
  signedOut(t, 'portal'));

test('an edge that forbids with a page is no lost connection', (t) => signedOut(t, 'forbidden'));

test('a page that is opened behind a session that ended asks for the sign-in and nothing else', async (t) => {
  const { page, edge } = await behindEdge(t);
  // The edge lets the page itself through, as one that protects the interface alone does.
  await page.route('**/api/**', (route) =>
    route.fulfill({ contentType: 'text/html', body: '<form>Sign in</form>' }),
  );
  await page.reload();
  await page.getByText('Signed out at the edge.').waitFor();
  await again(page).waitFor();
  assert.equal(await page.getByText('No connection').count(), 0);
  await screenshot(page, 'edge-signed-out-at-start');
  await page.unroute('**/api/**');
  edge.asked();
  await again(page).click();
  await opened(page);
  assert.ok(edge.asked().includes('GET /'), 'the whole page was asked for anew');
});

test('signing in at the edge goes there with the whole page, and comes back to what was shown', async (t) => {
  const { page, edge } = await behindEdge(t);
  const [incident] = await page.evaluate(async () => (await fetch('/api/incidents')).json());
  await page.goto(`${edge.origin}/#/incident/${incident.incident}`);
  await opened(page);
  edge.signOut('elsewhere');
  edge.signInAtLogin();
  await again(page).click();
  await page.getByRole('button', { name: 'Sign in at the edge' }).click();
  await opened(page);
  assert.equal(new URL(page.url()).hash, `#/incident/${incident.incident}`);
  await page.getByRole('textbox', { name: 'Ask the agent' }).waitFor();
});

test('a link that is opened without a session at the edge shows its incident after the sign-in', async (t) => {
  const { page, edge, context } = await behindEdge(t);
  const [{ incident }] = await page.evaluate(async () => (await fetch('/api/incidents')).json());
  edge.signOut('elsewhere');
  edge.signInAtLogin();
  const tab = await context.newPage();
  await tab.goto(`${edge.origin}/?incident=${incident}`);
  await tab.getByRole('button', { name: 'Sign in at the edge' }).click();
  await opened(tab);
  assert.equal(tab.url(), `${edge.origin}/#/incident/${incident}`);
});

test('a verb that the edge kept did not reach the server, and waits for a second hold', async (t) => {
  const { page, edge } = await behindEdge(t);
  await page.route('**/verbs/cycle*', (route) =>
    route.fulfill({ contentType: 'text/html', body: '<form>Sign in</form>' }),
  );
  await openPower(page);
  await hold(page, 'cycle');
  await shown(page, 'did not reach the server: you are signed out at the edge');
  await bar(page).waitFor();
  await screenshot(page, 'edge-kept-a-verb');
  await page.unroute('**/verbs/cycle*');
  await again(page).click();
  await opened(page);
  await shown(page, 'did not reach the server');
  assert.equal(await page.locator('[data-verb="cycle"]').count(), 0);
  assert.ok(!edge.asked().some((line) => line.startsWith('POST /api/targets')));
  const send = page.getByRole('button', {
    name: 'Send cycle again: press and hold.',
  });
  const box = await send.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.down();
  await send.waitFor({ state: 'detached' });
  await page.mouse.up();
  await verdicts(page).waitFor({ timeout: 120_000 });
});

test('a picture that the edge kept says so, and a report is never its sign-in page', async (t) => {
  const { page, edge } = await behindEdge(t);
  const saved = [];
  page.on('download', (download) => saved.push(download));
  // The menu is loaded when it is first wanted.
  await page.getByRole('button', { name: 'Menu' }).click();
  await page.getByRole('dialog').getByText('Download the report').waitFor();
  await page.keyboard.press('Escape');
  edge.signOut('here');
  await bar(page).waitFor();
  await openPower(page);
  await page.getByRole('button', { name: 'Show the screen' }).click();
  await shown(page, 'You are signed out at the edge, so this did not');
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Menu' }).click();
  await page.getByRole('dialog').getByText('Download the report').click();
  await page.getByRole('button', { name: 'Menu' }).click();
  await page.getByRole('dialog').getByText('Read the report').click();
  await page.getByRole('alert').getByText('You are signed out at the edge').last().waitFor();
  assert.deepEqual(saved, []);
});

test('the offline shell keeps no page of the edge', async (t) => {
  const { page, edge } = await behindEdge(t);
  await page.evaluate(() => navigator.serviceWorker.ready);
  await page.waitForFunction(async () => (await caches.match('/')) !== undefined);
  const kept = () => page.evaluate(async () => (await caches.match('/')).text());
  const ours = await kept();
  assert.match(ours, /<title>breakglass</);
  for (const how of ['portal', 'here']) {
    edge.signOut(how);
    await page.goto(edge.origin);
    await page.getByText('Sign in at the edge').waitFor();
    assert.equal(await kept(), ours);
    const bad = await page.evaluate(async () => {
      const text = async (path) => (await fetch(path)).text();
      await text('/assets/other.js').catch(() => undefined);
      return (await caches.match('/assets/other.js')) !== undefined;
    });
    assert.equal(bad, false, 'an asset that is a page is not kept');
  }
  edge.signIn();
  await page.goto(edge.origin);
  await opened(page);
});

test('an edge without its server shows the offline shell, and no sign-in', async (t) => {
  const { page, edge } = await behindEdge(t);
  await page.waitForFunction(async () => (await caches.match('/')) !== undefined);
  edge.loseServer();
  await offlineBar(page).getByText('The edge answered 502.').waitFor();
  assert.equal(await bar(page).count(), 0);
  await page.reload();
  await page.getByText('No connection to the server.').waitFor();
  edge.signIn();
  await opened(page);
});
