import assert from 'node:assert/strict';
import { text } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { closeBrowser, opened, signIn } from './support/browser.js';
import { startDrill } from './support/drill.js';
import { runCheck, verdicts } from './support/page.js';

after(closeBrowser);

const menu = async (page, item) => {
  await page.getByRole('button', { name: 'Menu' }).click();
  await page.getByRole('dialog').getByText(item).click();
};

test('a closed incident can be replayed, and the next one starts empty', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link);
  await runCheck(page, 'status');
  await verdicts(page).waitFor();
  await menu(page, 'Close this incident');
  await page.getByText('Incident closed.').waitFor();
  await menu(page, 'Open an incident');
  await page.getByText('Incident closed.').waitFor({ state: 'detached' });
  await opened(page);
  assert.equal(await verdicts(page).count(), 0);

  await menu(page, 'All incidents');
  await page.getByRole('link', { name: 'closed' }).click();
  await verdicts(page).waitFor();
  await page.getByText('Incident closed.').waitFor();
  assert.equal(await page.getByRole('textbox').count(), 0, 'a replay is read-only');
  await page.getByText('DRILL').first().waitFor();
});

test('the report can be downloaded', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link);
  const download = page.waitForEvent('download');
  await menu(page, 'Download the report');
  const report = await text(await (await download).createReadStream());
  assert.match(report, /^# Incident on `devvm`/);
});

test('a check without the agent shows its result', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link);
  await runCheck(page, 'disk');
  const diagnosis = page.locator('[data-item="diagnosis"]');
  await diagnosis.waitFor();
  assert.match(await diagnosis.innerText(), /disk/);
});
