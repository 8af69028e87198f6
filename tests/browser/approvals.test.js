import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { violations } from './support/axe.js';
import { closeBrowser, NETWORK, screenshot, secondTab, signIn } from './support/browser.js';
import { startDrill } from './support/drill.js';
import {
  ask,
  commands,
  cutOffBar,
  deny,
  pressOn,
  questionFor,
  questions,
  REPAIR,
  runCheck,
  setAutonomy,
  settled,
  turnEnd,
  verdicts,
} from './support/page.js';

after(closeBrowser);

const TURN = { timeout: 120_000 };
const CYCLE = /^cycle/;

/** A page whose agent was told to repair; it has to ask, as long as nothing else was chosen. */
async function repairing(t, options = {}) {
  const { link, origin } = await startDrill(t, options);
  const page = await signIn(t, link, undefined, NETWORK);
  await page.getByTestId('autonomy').getByText('Asks first').waitFor();
  await ask(page, 'Fix it');
  return { page, origin };
}

const repairs = (page) => commands(page).filter({ hasText: REPAIR });
const allow = (card) => card.getByRole('button', { name: 'Allow', exact: true });

test('what is denied does not run, and the agent is told why', async (t) => {
  const { page } = await repairing(t);
  const card = await questionFor(page, REPAIR);
  assert.match(await card.innerText(), /Touches: \S/);
  assert.deepEqual(await violations(page), []);
  await screenshot(page, 'approval');
  await deny(card, 'Keep that log: it is the evidence.');
  await settled(page, 'deny').filter({ hasText: 'Keep that log' }).waitFor();
  await questions(page).first().waitFor({ state: 'detached' });
  await turnEnd(page).waitFor(TURN);
  assert.equal(await repairs(page).locator('[data-state="done"]').count(), 0);
  await page.getByText('the operator denied it: Keep that log').last().waitFor();
  await page.getByText('not repaired').waitFor();
});

test('what is allowed runs, and is shown under the tool call that asked', async (t) => {
  const { page } = await repairing(t);
  await allow(await questionFor(page, REPAIR)).click();
  const tool = page.locator('[data-item="tool"]').filter({ has: repairs(page) });
  await tool.locator('[data-command] [data-state="done"]').filter({ hasText: REPAIR }).waitFor();
  await tool.locator('[data-decision="allow"]').waitFor();
  assert.match(await repairs(page).innerText(), /devvm[^]*exit 0/);
  await screenshot(page, 'commands');
});

test('an agent that may act by itself asks nothing', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link);
  await setAutonomy(page, 'Acts by itself');
  await ask(page, 'Fix it');
  await page.locator('[data-outcome="done"]').waitFor(TURN);
  assert.equal(await repairs(page).locator('[data-state="done"]').count(), 1);
  assert.equal(await page.locator('[data-decision]').count(), 0);
});

test('a question outlives a reload and stands in every tab until one answers it', async (t) => {
  const { page, origin } = await repairing(t);
  await questionFor(page, REPAIR);
  const other = await secondTab(page, origin);
  await page.reload();
  await questionFor(page, REPAIR);
  await deny(await questionFor(other, REPAIR), 'No.');
  for (const tab of [page, other]) {
    await settled(tab, 'deny').waitFor();
    await questions(tab).first().waitFor({ state: 'detached' });
  }
});

test('an answer into a dead line is offered again', async (t) => {
  const { page } = await repairing(t);
  const card = await questionFor(page, REPAIR);
  await page.route('**/approvals/*', (route) => route.abort());
  await allow(card).click();
  await card.getByText('it is not known whether “Allow” arrived').waitFor();
  await page.unroute('**/approvals/*');
  await allow(card).click();
  await settled(page, 'allow').filter({ hasText: REPAIR }).waitFor();
});

test('who answers second is told how it was settled', async (t) => {
  const { page, origin } = await repairing(t);
  const card = await questionFor(page, REPAIR);
  const other = await secondTab(page, origin);
  // The other's answer overtakes this one on its way to the server.
  await page.route('**/approvals/*', async (route) => {
    await other.evaluate(
      (url) =>
        fetch(url, {
          method: 'POST',
          headers: { 'Content-Type': 'application/json' },
          body: JSON.stringify({ decision: 'deny' }),
        }),
      route.request().url(),
    );
    await route.continue();
  });
  await allow(card).click();
  const told = page.getByText('Not allowed by you.');
  await told.waitFor();
  await page.getByRole('button', { name: 'Dismiss' }).click();
  await told.waitFor({ state: 'detached' });
  assert.equal(await repairs(page).locator('[data-state="done"]').count(), 0);
});

test('Stop leaves no question open', async (t) => {
  const { page } = await repairing(t);
  await questionFor(page, REPAIR);
  await page.getByRole('button', { name: 'Stop', exact: true }).click();
  await settled(page, 'void').filter({ hasText: 'Void' }).waitFor();
  await questions(page).first().waitFor({ state: 'detached' });
});

test('a question can be answered without a pointer', async (t) => {
  const { page } = await repairing(t);
  const card = await questionFor(page, REPAIR);
  await allow(card).click({ trial: true });
  await allow(card).focus();
  await page.keyboard.press('Enter');
  await settled(page, 'allow').filter({ hasText: REPAIR }).waitFor();
  await page.getByRole('main').and(page.locator(':focus')).waitFor();
});

test('a verb of the agent has to be held as the power button has', async (t) => {
  const { page } = await repairing(t, { scenario: 'io-stall' });
  const card = await questionFor(page, CYCLE);
  const button = card.getByRole('button', { name: 'Allow cycle: press and hold.' });
  await button.click();
  await card.getByText('Press and hold to allow cycle.').waitFor();
  assert.equal(await settled(page, 'allow').filter({ hasText: 'cycle' }).count(), 0);
  await pressOn(page, button);
  await card.waitFor({ state: 'detached' });
  await page.mouse.up();
  await page.locator('[data-verb="cycle"]').waitFor();
});

test('an agent that is cut off reaches nothing until the cut-off is lifted', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link);
  await page.getByRole('button', { name: 'Cut off the agent' }).click();
  await cutOffBar(page).getByText('The agent is cut off').waitFor();
  assert.deepEqual(await violations(page), []);
  await screenshot(page, 'cut-off');
  await page.reload();
  await cutOffBar(page).waitFor();

  await runCheck(page, 'status');
  await verdicts(page).first().waitFor();
  await ask(page, 'What is wrong?');
  await turnEnd(page).waitFor(TURN);
  const worked = commands(page).locator('[data-state="done"]');
  assert.equal(await worked.count(), 0, 'no command of it got through');

  await cutOffBar(page).getByRole('button', { name: 'Lift' }).click();
  await cutOffBar(page).waitFor({ state: 'detached' });
  await ask(page, 'What is wrong?');
  await worked.first().waitFor(TURN);
});
