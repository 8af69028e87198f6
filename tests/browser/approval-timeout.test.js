import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { violations } from './support/axe.js';
import { closeBrowser, openContext, screenshot, signIn } from './support/browser.js';
import { startDrill } from './support/drill.js';
import { approvalCards, layoutProblems } from './support/page.js';
import { streamOf } from './support/stream.js';

after(closeBrowser);

const TIMEOUT_MS = 120_000;

/** The stream of an incident with an approval request that expires. */
function requestLog(now, more = []) {
  const at = (ms) => new Date(now + ms).toISOString();
  const request = {
    kind: 'approval_requested',
    approval: 'a',
    turn: 1,
    place: 'devvm',
    command: 'sudo truncate -s 0 /var/log/app/trace.log',
    touches: 'The guest: it may change files there.',
    expires_at: at(TIMEOUT_MS),
  };
  const bodies = [
    { kind: 'incident_opened', target: 'devvm', drill: true, at: at(0) },
    { kind: 'prompt', turn: 1, text: 'Fix it', at: at(0) },
    { ...request, at: at(0) },
    ...more.map(([ms, body]) => ({ ...body, at: at(ms) })),
  ];
  return streamOf(bodies);
}

/** Opens a page that gets `log` as its stream, and whose clock the test controls. */
async function openLog(t, log) {
  const { link, origin } = await startDrill(t);
  const first = await signIn(t, link);
  const context = await openContext(t);
  await context.addCookies(await first.context().cookies());
  const page = await context.newPage();
  await page.clock.install();
  // The stream ends after its last event, and has no new events when the page resumes it.
  await page.route('**/api/incidents/*/events', (route) =>
    route.fulfill({ contentType: 'text/event-stream', body: log }),
  );
  await page.goto(origin);
  return page;
}

test('an approval card shows its deadline and the time left', async (t) => {
  const page = await openLog(t, requestLog(Date.now()));
  const card = approvalCards(page).first();
  await card.getByText(/Without a decision by \d\d:\d\d:\d\d, it does not run\./).waitFor();
  await card.getByText(/(1 min )?\d+ s left\./).waitFor();
  assert.deepEqual(await layoutProblems(page), []);
  assert.deepEqual(await violations(page), []);
  await screenshot(page, 'approval-timeout');
  await page.clock.fastForward(TIMEOUT_MS);
  await card.getByText('left.').waitFor({ state: 'detached' });
});

test('an expired approval request is shown until it is dismissed', async (t) => {
  const expired = [[TIMEOUT_MS, { kind: 'approval_decided', approval: 'a', decision: 'void' }]];
  const page = await openLog(t, requestLog(Date.now() - 2 * TIMEOUT_MS, expired));
  const message = page.getByTestId('expired');
  await message.getByText('Not run: no decision within 2 min.').waitFor();
  await message.getByText('sudo truncate').waitFor();
  assert.equal(await approvalCards(page).count(), 0);
  assert.deepEqual(await violations(page), []);
  await screenshot(page, 'approval-expired');
  await message.getByRole('button', { name: 'Dismiss' }).click();
  await message.waitFor({ state: 'detached' });
  await page
    .locator('[data-decision="void"]')
    .getByText('Not run: no decision within 2 min.')
    .waitFor();
});
