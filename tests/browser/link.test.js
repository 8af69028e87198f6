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
import { serveNobody } from './support/server.js';
import { ask, questionFor, questions, REPAIR, setAutonomy, settled } from './support/page.js';

after(closeBrowser);

/** The incident's number, as a notification's link has it. */
const incidentOf = (page) =>
  page.evaluate(async () => {
    const incidents = await (await fetch('/api/incidents')).json();
    return incidents[0].incident;
  });

const composer = (page) => page.getByRole('textbox', { name: 'Ask the agent' });

/** Both forms of a link that a notification may have. */
const links = (origin, incident) => [
  `${origin}/#/incident/${incident}`,
  `${origin}/?incident=${incident}`,
];

test('a link to an open incident shows it live, with the question and the dock', async (t) => {
  const { link, origin } = await startDrill(t);
  const first = await signIn(t, link);
  await ask(first, 'Fix it');
  await questionFor(first, REPAIR);
  const incident = await incidentOf(first);
  for (const address of links(origin, incident)) {
    const page = await first.context().newPage();
    await page.goto(address);
    await questionFor(page, REPAIR);
    await page.getByText(/Not answered by \d\d:\d\d:\d\d: it is not run\./).waitFor();
    await composer(page).waitFor();
    await page.getByRole('button', { name: 'Power', exact: true }).waitFor();
    assert.equal(page.url(), `${origin}/#/incident/${incident}`);
    await screenshot(page, 'link-live');
    assert.deepEqual(await violations(page), []);
    if (address.includes('?')) {
      await questions(page).first().getByRole('button', { name: 'Allow', exact: true }).click();
      await settled(page, 'allow').filter({ hasText: REPAIR }).waitFor();
    }
  }
});

test('a link that is opened without a session shows its incident after the sign-in', async (t) => {
  const { origin, token } = await serveNobody(t);
  const headers = { authorization: `Bearer ${token}` };
  const [{ incident }] = await (await fetch(`${origin}/api/incidents`, { headers })).json();
  for (const address of links(origin, incident)) {
    const page = await (await openContext(t, undefined, NETWORK)).newPage();
    await page.goto(address);
    await page.getByLabel('Access token').fill(token);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await opened(page);
    await composer(page).waitFor();
    assert.equal(page.url(), `${origin}/#/incident/${incident}`);
  }
});

test('a link to a closed incident shows it to be read, and one to none says so', async (t) => {
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
  await page.getByRole('link', { name: 'Show what is going on now' }).click();
  await composer(page).waitFor();
});

test('an incident that is followed after another takes the address with it', async (t) => {
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

test('the report is a page, and can be saved from there', async (t) => {
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

test('a new incident shows the autonomy that the operator chose in the last one', async (t) => {
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
