import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { violations } from './support/axe.js';
import { closeBrowser, openContext, screenshot, signIn } from './support/browser.js';
import { startDrill } from './support/drill.js';
import { misfits, questions } from './support/page.js';

after(closeBrowser);

const LIMIT_MS = 120_000;

/** A log in which the agent asks, with the time at which the question is void. */
function asking(now, more = []) {
  const at = (ms) => new Date(now + ms).toISOString();
  const question = {
    kind: 'approval_requested',
    approval: 'a',
    turn: 1,
    place: 'devvm',
    command: 'sudo truncate -s 0 /var/log/app/trace.log',
    touches: 'The guest: it may change files there.',
    expires_at: at(LIMIT_MS),
  };
  const bodies = [
    { kind: 'incident_opened', target: 'devvm', drill: true, at: at(0) },
    { kind: 'prompt', turn: 1, text: 'Fix it', at: at(0) },
    { ...question, at: at(0) },
    ...more.map(([ms, body]) => ({ ...body, at: at(ms) })),
  ];
  const frames = bodies.map((body, index) => {
    const seq = index + 1;
    const data = JSON.stringify({ seq, actor: 'system', hash: '', ...body });
    return `id: ${seq}\nevent: ${body.kind}\ndata: ${data}\n\n`;
  });
  return `${frames.join('')}event: caught-up\ndata: {"seq":${bodies.length}}\n\n`;
}

/** A page whose clock the test moves, and that is given this log. */
async function openLog(t, log) {
  const { link, origin } = await startDrill(t);
  const first = await signIn(t, link);
  const context = await openContext(t);
  await context.addCookies(await first.context().cookies());
  const page = await context.newPage();
  await page.clock.install();
  // The stream ends after its last event; it is resumed, and nothing is new.
  await page.route('**/api/incidents/*/events', (route) =>
    route.fulfill({ contentType: 'text/event-stream', body: log }),
  );
  await page.goto(origin);
  return page;
}

test('a question says until when it is answered, and how long that is', async (t) => {
  const page = await openLog(t, asking(Date.now()));
  const card = questions(page).first();
  await card.getByText(/Not answered by \d\d:\d\d:\d\d: it is not run\./).waitFor();
  await card.getByText(/(1 min )?\d+ s left\./).waitFor();
  assert.deepEqual(await misfits(page), []);
  assert.deepEqual(await violations(page), []);
  await screenshot(page, 'question-with-limit');
  await page.clock.fastForward(LIMIT_MS);
  await card.getByText('left.').waitFor({ state: 'detached' });
});

test('the end of a question that nobody answered is said where it was asked', async (t) => {
  const over = [[LIMIT_MS, { kind: 'approval_decided', approval: 'a', decision: 'void' }]];
  const page = await openLog(t, asking(Date.now() - 2 * LIMIT_MS, over));
  const told = page.getByTestId('unanswered');
  await told.getByText('Not run: not answered in 2 min.').waitFor();
  await told.getByText('sudo truncate').waitFor();
  assert.equal(await questions(page).count(), 0);
  assert.deepEqual(await violations(page), []);
  await screenshot(page, 'question-not-answered');
  await told.getByRole('button', { name: 'Dismiss' }).click();
  await told.waitFor({ state: 'detached' });
  await page
    .locator('[data-decision="void"]')
    .getByText('Not run: not answered in 2 min.')
    .waitFor();
});
