import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { closeBrowser, NETWORK, opened, openContext, signIn } from './support/browser.js';
import { startDrill } from './support/drill.js';

after(closeBrowser);

test('the link signs in and its code is removed from the URL', async (t) => {
  const { link, origin } = await startDrill(t);
  const page = await signIn(t, link);
  assert.equal(page.url(), `${origin}/`);
  await page.getByText('DRILL', { exact: false }).first().waitFor();
});

test('a used link does not sign in a second browser and explains how to sign in', async (t) => {
  const { link } = await startDrill(t);
  await signIn(t, link);
  const context = await openContext(t, undefined, NETWORK);
  const page = await context.newPage();
  await page.goto(link);
  await page.getByText('This link was already used').waitFor();
  await page.getByLabel('Access token').fill('wrong');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('does not know this token').waitFor();
});

test('a reload keeps the session, and signing out asks for the token', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link, undefined, NETWORK);
  await page.reload();
  await opened(page);
  await page.getByRole('button', { name: 'Menu' }).click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Access token').waitFor();
  await page.reload();
  await page.getByLabel('Access token').waitFor();
});
