// What an operator does and sees, in the page's own words.
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';

const DOUBLE_TAP_MS = 600;
/** What a scripted turn takes at most to get to its next step. */
const TURN_MS = 120_000;
/** How far a page's time is stepped to stand still: not so far that its line seems dead. */
const STEP_MS = 10_000;

/** Ids of the timeline's items, top to bottom. Each must be there once. */
export const itemIds = (page) =>
  page.locator('[data-item]').evaluateAll((items) => items.map((item) => item.dataset.id));

export const verdicts = (page) => page.getByTestId('verdict');
export const turnEnd = (page) => page.locator('[data-outcome]');
export const offlineBar = (page) => page.getByTestId('offline');

export async function openPower(page) {
  await page.getByRole('button', { name: 'Power', exact: true }).click();
  await page.getByRole('dialog').waitFor();
}

export const holdButton = (page, verb) =>
  page.getByRole('button', { name: `${verb}: press and hold.` }).first();

/** Holds a verb's button until the page takes it: the sheet closes by itself. */
export async function hold(page, verb) {
  await press(page, verb);
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  await page.mouse.up();
}

/** Puts a finger on a verb's button and leaves it there. */
export const press = (page, verb) => pressOn(page, holdButton(page, verb));

/** Puts a finger on a button, once it can be pressed, and leaves it there. */
export async function pressOn(page, button) {
  await button.click({ trial: true });
  const box = await button.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.down();
}

/** Gives a page a clock that can stand still; before it is opened. */
export const giveClock = (page) => page.clock.install();

/** Lets the page's time stand still: what takes a while there takes as long as the test wants. */
export async function stopClock(page) {
  await page.clock.pauseAt((await page.evaluate(() => Date.now())) + STEP_MS);
}

/**
 * Looks out for what is there for a moment only; from now on. Resolves to what waits until it was
 * there.
 */
export async function lookOut(page, selector) {
  await page.evaluate((selector) => {
    globalThis.seen ??= new Set();
    const look = () => document.querySelector(selector) && globalThis.seen.add(selector);
    new MutationObserver(look).observe(document, { childList: true, subtree: true });
    look();
  }, selector);
  return () => page.waitForFunction((selector) => globalThis.seen.has(selector), selector);
}

/** Waits until two pages show the same items: each event comes to each of them in its own time. */
export async function sameItems(one, other, deadline = Date.now() + TURN_MS) {
  for (;;) {
    const [here, there] = await Promise.all([itemIds(one), itemIds(other)]);
    if (isDeepStrictEqual(here, there)) return;
    if (Date.now() > deadline) assert.deepEqual(here, there);
    await one.waitForTimeout(50);
  }
}

export async function ask(page, text) {
  await page.getByRole('textbox', { name: 'Ask the agent' }).fill(text);
  await page.getByRole('button', { name: 'Send', exact: true }).click();
}

/** Runs a check, or a verb that changes nothing, by its preset. */
export const runCheck = (page, name) =>
  page
    .getByRole('group', { name: 'Checks without the agent' })
    .getByRole('button', { name })
    .click();

/** The cards of what the agent asks, over the composer. */
export const questions = (page) => page.locator('[data-approval]');

/** What became of questions, in the timeline: `allow`, `deny`, `void` or `open`. */
export const settled = (page, decision) => page.locator(`[data-decision="${decision}"]`);

/** Commands of the agent on guest and host, as the bastion recorded them. */
export const commands = (page) => page.locator('[data-command]');

export const cutOffBar = (page) => page.getByTestId('cut-off');

/** Chooses by the menu what the agent may do; resolves once the log says so. */
export async function setAutonomy(page, label) {
  await page.getByRole('button', { name: 'Menu' }).click();
  const choice = page.getByRole('dialog').getByRole('button', { name: label });
  await choice.click();
  await page.locator('[aria-pressed="true"]').filter({ hasText: label }).waitFor();
  await page.getByRole('dialog').getByRole('button', { name: 'Close', exact: true }).click();
}

/** Allows whatever the agent asks until it asks for what matches; resolves to that card. */
export async function questionFor(page, pattern) {
  for (;;) {
    const card = questions(page).first();
    await card.waitFor({ timeout: TURN_MS });
    const id = await card.getAttribute('data-approval');
    const asked = page.locator(`[data-approval="${id}"]`);
    const command = await asked.getByRole('group', { name: 'The whole command' }).innerText();
    if (pattern.test(command)) return asked;
    await asked.getByRole('button', { name: 'Allow' }).click();
    await asked.waitFor({ state: 'detached' });
  }
}

/** What the scripted agent does to a full disk: it empties the log that filled it. */
export const REPAIR = /truncate/;

/** Allows that, once it is asked. */
export async function allowRepair(page) {
  const card = await questionFor(page, REPAIR);
  await card.getByRole('button', { name: 'Allow', exact: true }).click();
}

/** Denies what a card asks, with a reason. */
export async function deny(card, reason) {
  await card.getByRole('button', { name: 'Deny', exact: true }).click();
  await card.getByLabel('Reason').fill(reason);
  const confirm = card.getByRole('button', { name: 'Deny it' });
  // The second half of a double tap is not taken for an answer; a later one is.
  await confirm.click({ delay: DOUBLE_TAP_MS });
}

/** What is wider than the screen, or too small for a thumb. */
export const misfits = (page) =>
  page.evaluate(() => {
    const wide = document.documentElement.scrollWidth > innerWidth ? ['the page'] : [];
    const small = [...document.querySelectorAll('button, select, a, input, textarea, summary')]
      .map((element) => ({ element, box: element.getBoundingClientRect() }))
      .filter(({ box }) => box.width > 0 && (box.width < 44 || box.height < 44))
      .filter(({ element }) => element.closest('.markdown') === null)
      .map(({ element }) => element.outerHTML.slice(0, 100));
    return [...wide, ...small];
  });
