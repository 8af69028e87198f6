import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { closeBrowser, opened, secondTab, signIn } from './support/browser.js';
import { startDrill } from './support/drill.js';
import { allowRepair, ask, itemIds, watchFor, sameItems, turnEnd } from './support/page.js';

after(closeBrowser);

const TURN = { timeout: 120_000 };
/** The agent's text while it types. */
const TYPING = '[data-testid="typing"] .markdown';
const stop = (page) => page.getByRole('button', { name: 'Stop', exact: true });
const done = (page) => page.locator('[data-outcome="done"]');

test('a prompt streams the agent’s text, shows its commands and ends', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link);
  const typed = await watchFor(page, TYPING);
  const stoppable = await watchFor(page, '.send.stop');
  await ask(page, 'What is wrong?');
  await typed();
  await stoppable();
  await allowRepair(page);
  await done(page).waitFor(TURN);
  assert.ok((await page.locator('[data-item="tool"]').count()) > 0, 'its commands are shown');
  assert.ok((await page.locator('[data-item="text"]').count()) > 0, 'its text is in the timeline');
  assert.equal(await page.getByRole('textbox', { name: 'Ask the agent' }).inputValue(), '');
});

test('a reload during a turn shows every item once', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link);
  const typed = await watchFor(page, TYPING);
  await ask(page, 'What is wrong?');
  await typed();
  await page.reload();
  await opened(page);
  await allowRepair(page);
  await done(page).waitFor(TURN);
  const seen = await itemIds(page);
  assert.equal(new Set(seen).size, seen.length, 'no item twice');
  await page.reload();
  await done(page).waitFor();
  // New items come after these.
  const again = (await itemIds(page)).slice(0, seen.length);
  assert.deepEqual(again, seen, 'no item lost');
});

test('Stop ends the turn', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link);
  await ask(page, 'What is wrong?');
  await stop(page).click();
  await turnEnd(page).waitFor();
  assert.equal(await turnEnd(page).first().getAttribute('data-outcome'), 'stopped');
});

test('a preset of the server runs with one tap, and triage requests no approval', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link);
  const presets = page.getByRole('group', { name: 'Ask the agent' });
  for (const label of ['QEMU wedged?', 'Fix it', 'Disk']) {
    await presets.getByRole('button', { name: label }).waitFor();
  }
  await presets.getByRole('button', { name: 'Triage' }).click();
  await page.getByText('Change nothing before you have said what you would do').waitFor();
  await done(page).waitFor(TURN);
  assert.equal(await page.locator('[data-decision]').count(), 0, 'it requested no approval');
});

test('a draft survives a reload', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link);
  await page.getByRole('textbox', { name: 'Ask the agent' }).fill('half a thought');
  await page.reload();
  await opened(page);
  const draft = page.getByRole('textbox', { name: 'Ask the agent' });
  assert.equal(await draft.inputValue(), 'half a thought');
});

test('two tabs show the same items', async (t) => {
  const { link, origin } = await startDrill(t);
  const first = await signIn(t, link);
  const second = await secondTab(first, origin);
  const typed = await watchFor(second, TYPING);
  await ask(first, 'What is wrong?');
  await typed();
  await allowRepair(first);
  await Promise.all([done(first).waitFor(TURN), done(second).waitFor(TURN)]);
  await sameItems(first, second);
});
