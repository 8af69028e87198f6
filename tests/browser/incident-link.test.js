// Links to incidents, as notifications contain them, and the report. Leaves links behind an edge to
// edge.test.js.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { violations } from './support/axe.js';
import {
  closeBrowser,
  NETWORK,
  openContext,
  opened,
  screenshot,
  signIn,
} from './support/browser.js';
import { startDrill } from './support/drill.js';
import { serveUnreachable } from './support/server.js';
import { approvalCardFor, approvalCards, ask, decided, REPAIR, setAutonomy } from './support/page.js';

after(closeBrowser);

/** The id of the newest incident. */
const incidentOf = (page) =>
  page.evaluate(async () => {
    const incidents = await (await fetch('/api/incidents')).json();
    return incidents[0].incident;
  });

const composer = (page) => page.getByRole('textbox', { name: 'Ask the agent' });

/** Both forms of a notification's link. */
const links = (origin, incident) => [
  `${origin}/#/incident/${incident}`,
  `${origin}/?incident=${incident}`,
];

test('a link to an open incident shows it live, with its approval request and the composer', async (t) => {
  const { link, origin } = await startDrill(t);
  const first = await signIn(t, link);
  await ask(first, 'Fix it');
  await approvalCardFor(first, REPAIR);
  const incident = await incidentOf(first);
  for (const url of links(origin, incident)) {
    const page = await first.context().newPage();
    await page.goto(url);
    await approvalCardFor(page, REPAIR);
    await page.getByText(/Without a decision by \d\d:\d\d:\d\d, it does not run\./).waitFor();
    await composer(page).waitFor();
    await page.getByRole('button', { name: 'Power', exact: true }).waitFor();
    assert.equal(page.url(), `${origin}/#/incident/${incident}`);
    await screenshot(page, 'link-live');
    assert.deepEqual(await violations(page), []);
    if (url.includes('?')) {
      await approvalCards(page).first().getByRole('button', { name: 'Allow', exact: true }).click();
      await decided(page, 'allow').filter({ hasText: REPAIR }).waitFor();
    }
  }
});

test('a link that is opened without a session shows its incident after the sign-in', async (t) => {
  const { origin, token } = await serveUnreachable(t);
  const headers = { authorization: `Bearer ${token}` };
  const [{ incident }] = await (await fetch(`${origin}/api/incidents`, { headers })).json();
  for (const url of links(origin, incident)) {
    const page = await (await openContext(t, undefined, NETWORK)).newPage();
    await page.goto(url);
    await page.getByLabel('Access token').fill(token);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await opened(page);
    await composer(page).waitFor();
    assert.equal(page.url(), `${origin}/#/incident/${incident}`);
  }
});

test('a link to a closed incident shows a replay, and a link to an unknown one shows an error', async (t) => {
  const { link, origin } = await startDrill(t);
  const page = await signIn(t, link);
  const incident = await incidentOf(page);
  await page.evaluate(
    (incident) => fetch(`/api/incidents/${incident}/close`, { method: 'POST' }),
    incident,
  );
  await page.getByText('Incident closed.').waitFor();
  await page.goto(`${origin}/?incident=${incident}`);
  await page.getByText('Incident closed.').waitFor();
  assert.equal(await composer(page).count(), 0);

  await page.goto(`${origin}/?incident=019b0000-0000-7000-8000-000000000000`);
  await page.getByText('The server does not know this incident.').waitFor();
  await screenshot(page, 'link-unknown');
  assert.deepEqual(await violations(page), []);
  await page.getByRole('link', { name: 'Show the current incident' }).click();
  await composer(page).waitFor();
});

test('opening another incident removes the link from the URL', async (t) => {
  const { link, origin } = await startDrill(t);
  const page = await signIn(t, link);
  const first = await incidentOf(page);
  await page.goto(`${origin}/?incident=${first}`);
  await opened(page);
  for (const item of ['Close this incident', 'Open an incident']) {
    await page.getByRole('button', { name: 'Menu' }).click();
    await page.getByRole('dialog').getByText(item).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    if (item.startsWith('Close')) await page.getByText('Incident closed.').waitFor();
  }
  await page.getByText('Incident closed.').waitFor({ state: 'detached' });
  await opened(page);
  assert.equal(page.url(), `${origin}/`);
  await page.evaluate((first) => (location.hash = `#/incident/${first}`), first);
  await page.getByText('Incident closed.').waitFor();
  assert.equal(await composer(page).count(), 0);
});

test('the report opens as a page and can be downloaded', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link);
  await page.getByRole('button', { name: 'Menu' }).click();
  await page.getByRole('dialog').getByText('Read the report').click();
  await page.getByText('Incident on devvm').waitFor();
  assert.deepEqual(await violations(page), []);
  await screenshot(page, 'report');
  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Download' }).click();
  assert.match((await download).suggestedFilename(), /^incident-.*\.md$/);
  await page.getByRole('link', { name: 'Back' }).click();
  await composer(page).waitFor();
});

test('a new incident keeps the autonomy of the last one', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link);
  await setAutonomy(page, 'Acts by itself');
  for (const item of ['Close this incident', 'Open an incident']) {
    await page.getByRole('button', { name: 'Menu' }).click();
    await page.getByRole('dialog').getByText(item).click();
    if (item.startsWith('Close')) await page.getByText('Incident closed.').waitFor();
  }
  await page.getByText('Incident closed.').waitFor({ state: 'detached' });
  await opened(page);
  await page.getByTestId('autonomy').getByText('Acts by itself').waitFor();
});
