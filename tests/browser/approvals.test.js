// Approval requests, autonomy and the cut-off, with the scripted agent of a drill. Leaves their expiry
// to approval-timeout.test.js.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { violations } from './support/axe.js';
import { closeBrowser, NETWORK, screenshot, secondTab, signIn } from './support/browser.js';
import { startDrill } from './support/drill.js';
import {
  approvalCardFor,
  approvalCards,
  ask,
  commands,
  cutOffBar,
  decided,
  deny,
  pressOn,
  REPAIR,
  runCheck,
  setAutonomy,
  turnEnd,
  verdicts,
} from './support/page.js';

after(closeBrowser);

const TURN = { timeout: 120_000 };
const CYCLE = /^cycle/;

/** Asks the agent to repair the guest, with the default autonomy. */
async function startRepair(t, options = {}) {
  const { link, origin } = await startDrill(t, options);
  const page = await signIn(t, link, undefined, NETWORK);
  await page.getByTestId('autonomy').getByText('Asks first').waitFor();
  await ask(page, 'Fix it');
  return { page, origin };
}

const repairs = (page) => commands(page).filter({ hasText: REPAIR });
const allow = (card) => card.getByRole('button', { name: 'Allow', exact: true });

test('a denied command does not run, and the agent receives the reason', async (t) => {
  const { page } = await startRepair(t);
  const card = await approvalCardFor(page, REPAIR);
  assert.match(await card.innerText(), /Affects: \S/);
  assert.deepEqual(await violations(page), []);
  await screenshot(page, 'approval');
  await deny(card, 'Keep that log: it is the evidence.');
  await decided(page, 'deny').filter({ hasText: 'Keep that log' }).waitFor();
  await approvalCards(page).first().waitFor({ state: 'detached' });
  await turnEnd(page).waitFor(TURN);
  assert.equal(await repairs(page).locator('[data-state="done"]').count(), 0);
  await page.getByText('the operator denied it: Keep that log').last().waitFor();
  await page.getByText('not repaired').waitFor();
});

test('an allowed command runs and is shown below its tool call', async (t) => {
  const { page } = await startRepair(t);
  await allow(await approvalCardFor(page, REPAIR)).click();
  const tool = page.locator('[data-item="tool"]').filter({ has: repairs(page) });
  await tool.locator('[data-command] [data-state="done"]').filter({ hasText: REPAIR }).waitFor();
  await tool.locator('[data-decision="allow"]').waitFor();
  assert.match(await repairs(page).innerText(), /devvm[^]*exit 0/);
  await screenshot(page, 'commands');
});

test('an autonomous agent requests no approval', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link);
  await setAutonomy(page, 'Acts by itself');
  await ask(page, 'Fix it');
  await page.locator('[data-outcome="done"]').waitFor(TURN);
  assert.equal(await repairs(page).locator('[data-state="done"]').count(), 1);
  assert.equal(await page.locator('[data-decision]').count(), 0);
});

test('an approval request survives a reload and is open in every tab until a decision', async (t) => {
  const { page, origin } = await startRepair(t);
  await approvalCardFor(page, REPAIR);
  const other = await secondTab(page, origin);
  await page.reload();
  await approvalCardFor(page, REPAIR);
  await deny(await approvalCardFor(other, REPAIR), 'No.');
  for (const tab of [page, other]) {
    await decided(tab, 'deny').waitFor();
    await approvalCards(tab).first().waitFor({ state: 'detached' });
  }
});

test('a decision that got no answer can be sent again', async (t) => {
  const { page } = await startRepair(t);
  const card = await approvalCardFor(page, REPAIR);
  await page.route('**/approvals/*', (route) => route.abort());
  await allow(card).click();
  await card.getByText('it is not known whether “Allow” arrived').waitFor();
  await page.unroute('**/approvals/*');
  await allow(card).click();
  await decided(page, 'allow').filter({ hasText: REPAIR }).waitFor();
});

test('a decision that comes second shows the first one', async (t) => {
  const { page, origin } = await startRepair(t);
  const card = await approvalCardFor(page, REPAIR);
  const other = await secondTab(page, origin);
  // The other tab's decision reaches the server first.
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
  const message = page.getByText('Your Allow came too late.');
  await message.waitFor();
  await page.getByRole('button', { name: 'Dismiss' }).click();
  await message.waitFor({ state: 'detached' });
  assert.equal(await repairs(page).locator('[data-state="done"]').count(), 0);
});

test('Stop voids the open approval requests', async (t) => {
  const { page } = await startRepair(t);
  await approvalCardFor(page, REPAIR);
  await page.getByRole('button', { name: 'Stop', exact: true }).click();
  await decided(page, 'void').filter({ hasText: 'Void' }).waitFor();
  await approvalCards(page).first().waitFor({ state: 'detached' });
});

test('an approval request can be decided by keyboard', async (t) => {
  const { page } = await startRepair(t);
  const card = await approvalCardFor(page, REPAIR);
  await allow(card).click({ trial: true });
  await allow(card).focus();
  await page.keyboard.press('Enter');
  await decided(page, 'allow').filter({ hasText: REPAIR }).waitFor();
  await page.getByRole('main').and(page.locator(':focus')).waitFor();
});

test('a verb of the agent is allowed by press and hold', async (t) => {
  const { page } = await startRepair(t, { scenario: 'io-stall' });
  const card = await approvalCardFor(page, CYCLE);
  const button = card.getByRole('button', { name: 'Allow cycle: press and hold.' });
  await button.click();
  await card.getByText('Press and hold to allow cycle.').waitFor();
  assert.equal(await decided(page, 'allow').filter({ hasText: 'cycle' }).count(), 0);
  await pressOn(page, button);
  await card.waitFor({ state: 'detached' });
  await page.mouse.up();
  await page.locator('[data-verb="cycle"]').waitFor();
});

test('an agent that is cut off runs no command until the cut-off is lifted', async (t) => {
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
  const succeeded = commands(page).locator('[data-state="done"]');
  assert.equal(await succeeded.count(), 0, 'no command succeeded');

  await cutOffBar(page).getByRole('button', { name: 'Lift' }).click();
  await cutOffBar(page).waitFor({ state: 'detached' });
  await ask(page, 'What is wrong?');
  await succeeded.first().waitFor(TURN);
});
