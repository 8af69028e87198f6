// The page behind an edge that requires a sign-in of its own: what it shows, what it keeps, and how it
// returns. The kinds of edges are in support/edge.js.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { violations } from './support/axe.js';
import { closeBrowser, NETWORK, openContext, opened, screenshot } from './support/browser.js';
import { startDrill } from './support/drill.js';
import { startEdge } from './support/edge.js';
import { hold, layoutProblems, offlineBar, openPower, runCheck, verdicts } from './support/page.js';

after(closeBrowser);

/** Console messages about a closed connection, or about a page instead of an asset. */
const SIGNED_OUT = new RegExp(`${NETWORK.source}|MIME type|Failed to load module|Redirect`);

const bar = (page) => page.getByTestId('signed-out-at-edge');
const signInAgain = (page) => page.getByRole('button', { name: 'Sign in again' });

/** Waits for a visible text: a hidden panel may contain it too. */
const shown = (page, text) => page.getByText(text).filter({ visible: true }).first().waitFor();

/** A page that is signed in, live, and behind an edge. */
async function behindEdge(t) {
  const { link, origin } = await startDrill(t);
  const edge = await startEdge(t, origin);
  const context = await openContext(t, undefined, SIGNED_OUT);
  const page = await context.newPage();
  await page.goto(link.replace(origin, edge.origin));
  await opened(page);
  return { page, edge, context };
}

/** Ends the session at the edge, which then answers as `how`, and signs in from another tab. */
async function checkSignOut(t, how) {
  const { page, edge } = await behindEdge(t);
  edge.signOut(how);
  await bar(page).waitFor();
  assert.equal(await offlineBar(page).count(), 0);
  assert.deepEqual(await layoutProblems(page), []);
  assert.deepEqual(await violations(page), []);
  await screenshot(page, 'edge-signed-out');
  edge.signIn();
  await bar(page).waitFor({ state: 'detached' });
  await runCheck(page, 'status');
  await verdicts(page).waitFor();
}

test('a redirect to a sign-in on another origin means signed out at the edge', (t) =>
  checkSignOut(t, 'elsewhere'));

test('a redirect to a sign-in on the same origin means signed out at the edge', (t) =>
  checkSignOut(t, 'here'));

test('the page of a captive portal means signed out at the edge', (t) =>
  checkSignOut(t, 'portal'));

test('a 403 page means signed out at the edge', (t) => checkSignOut(t, 'forbidden'));

test('a page that is opened while signed out at the edge shows only the sign-in', async (t) => {
  const { page, edge } = await behindEdge(t);
  // This edge protects only the API.
  await page.route('**/api/**', (route) =>
    route.fulfill({ contentType: 'text/html', body: '<form>Sign in</form>' }),
  );
  await page.reload();
  await page.getByText('Signed out at the edge.').waitFor();
  await signInAgain(page).waitFor();
  assert.equal(await page.getByText('No connection').count(), 0);
  await screenshot(page, 'edge-signed-out-at-start');
  await page.unroute('**/api/**');
  edge.requests();
  await signInAgain(page).click();
  await opened(page);
  assert.ok(edge.requests().includes('GET /'), 'the page was reloaded');
});

test('signing in at the edge returns to the same view', async (t) => {
  const { page, edge } = await behindEdge(t);
  const [incident] = await page.evaluate(async () => (await fetch('/api/incidents')).json());
  await page.goto(`${edge.origin}/#/incident/${incident.incident}`);
  await opened(page);
  edge.signOut('elsewhere');
  edge.signInAtLogin();
  await signInAgain(page).click();
  await page.getByRole('button', { name: 'Sign in at the edge' }).click();
  await opened(page);
  assert.equal(new URL(page.url()).hash, `#/incident/${incident.incident}`);
  await page.getByRole('textbox', { name: 'Ask the agent' }).waitFor();
});

test('a link that is opened while signed out at the edge shows its incident after the sign-in', async (t) => {
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

test('a verb that the edge intercepted does not run until a second hold', async (t) => {
  const { page, edge } = await behindEdge(t);
  await page.route('**/verbs/cycle*', (route) =>
    route.fulfill({ contentType: 'text/html', body: '<form>Sign in</form>' }),
  );
  await openPower(page);
  await hold(page, 'cycle');
  await shown(page, 'did not reach the server: you are signed out at the edge');
  await bar(page).waitFor();
  await screenshot(page, 'edge-intercepted-verb');
  await page.unroute('**/verbs/cycle*');
  await signInAgain(page).click();
  await opened(page);
  await shown(page, 'did not reach the server');
  assert.equal(await page.locator('[data-verb="cycle"]').count(), 0);
  assert.ok(!edge.requests().some((line) => line.startsWith('POST /api/targets')));
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

test('a screenshot and a report are never the edge’s sign-in page', async (t) => {
  const { page, edge } = await behindEdge(t);
  const saved = [];
  page.on('download', (download) => saved.push(download));
  // The menu's code is loaded on demand, so load it before the edge signs out.
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

test('the offline shell caches no page of the edge', async (t) => {
  const { page, edge } = await behindEdge(t);
  await page.evaluate(() => navigator.serviceWorker.ready);
  await page.waitForFunction(async () => (await caches.match('/')) !== undefined);
  const cached = () => page.evaluate(async () => (await caches.match('/')).text());
  const ours = await cached();
  assert.match(ours, /<title>breakglass</);
  for (const how of ['portal', 'here']) {
    edge.signOut(how);
    await page.goto(edge.origin);
    await page.getByText('Sign in at the edge').waitFor();
    assert.equal(await cached(), ours);
    const bad = await page.evaluate(async () => {
      const text = async (path) => (await fetch(path)).text();
      await text('/assets/other.js').catch(() => undefined);
      return (await caches.match('/assets/other.js')) !== undefined;
    });
    assert.equal(bad, false, 'a page instead of an asset is not cached');
  }
  edge.signIn();
  await page.goto(edge.origin);
  await opened(page);
});

test('an edge that cannot reach the server shows the offline shell and no sign-in', async (t) => {
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
