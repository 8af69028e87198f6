import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { closeBrowser, opened, secondTab, signIn } from './support/browser.js';
import { startDrill } from './support/drill.js';
import { allowRepair, ask, itemIds, lookOut, sameItems, turnEnd } from './support/page.js';

after(closeBrowser);

const TURN = { timeout: 120_000 };
/** The agent's words while it types them. */
const TYPING = '[data-testid="typing"] .markdown';
const stop = (page) => page.getByRole('button', { name: 'Stop', exact: true });
const done = (page) => page.locator('[data-outcome="done"]');

test('a prompt streams the agent’s words, shows its commands and ends', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link);
  const [typed, stoppable] = [await lookOut(page, TYPING), await lookOut(page, '.send.stop')];
  await ask(page, 'What is wrong?');
  await typed();
  await stoppable();
  await allowRepair(page);
  await done(page).waitFor(TURN);
  assert.ok((await page.locator('[data-item="tool"]').count()) > 0, 'its commands are shown');
  assert.ok((await page.locator('[data-item="text"]').count()) > 0, 'its words are kept');
  assert.equal(await page.getByRole('textbox', { name: 'Ask the agent' }).inputValue(), '');
});

test('a reload in the middle of a turn shows everything once', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link);
  const typed = await lookOut(page, TYPING);
  await ask(page, 'What is wrong?');
  await typed();
  await page.reload();
  await opened(page);
  await allowRepair(page);
  await done(page).waitFor(TURN);
  const seen = await itemIds(page);
  assert.equal(new Set(seen).size, seen.length, 'nothing twice');
  await page.reload();
  await done(page).waitFor();
  // What happens meanwhile comes after it.
  const again = (await itemIds(page)).slice(0, seen.length);
  assert.deepEqual(again, seen, 'nothing lost');
});

test('Stop ends the turn', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link);
  await ask(page, 'What is wrong?');
  await stop(page).click();
  await turnEnd(page).waitFor();
  assert.equal(await turnEnd(page).first().getAttribute('data-outcome'), 'stopped');
});

test('a preset of the server is one tap, and a look at the machine changes nothing', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link);
  const presets = page.getByRole('group', { name: 'Ask the agent' });
  for (const label of ['QEMU wedged?', 'Fix it', 'Disk']) {
    await presets.getByRole('button', { name: label }).waitFor();
  }
  await presets.getByRole('button', { name: 'Triage' }).click();
  await page.getByText('Change nothing before you have said what you would do').waitFor();
  await done(page).waitFor(TURN);
  assert.equal(await page.locator('[data-decision]').count(), 0, 'it asked nothing');
});

test('a draft outlives a reload', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link);
  await page.getByRole('textbox', { name: 'Ask the agent' }).fill('half a thought');
  await page.reload();
  await opened(page);
  const draft = page.getByRole('textbox', { name: 'Ask the agent' });
  assert.equal(await draft.inputValue(), 'half a thought');
});

test('two tabs see the same', async (t) => {
  const { link, origin } = await startDrill(t);
  const first = await signIn(t, link);
  const second = await secondTab(first, origin);
  const typed = await lookOut(second, TYPING);
  await ask(first, 'What is wrong?');
  await typed();
  await allowRepair(first);
  await Promise.all([done(first).waitFor(TURN), done(second).waitFor(TURN)]);
  await sameItems(first, second);
});
