// The operator's actions on the page, and locators for what it shows, by the page's own texts. Owns no
// browser and no server.
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';

const DOUBLE_TAP_MS = 600;
/** Timeout for the next step of a scripted turn. */
const TURN_MS = 120_000;
/** How far the page's clock jumps before it stops; too short to make the connection look dead. */
const CLOCK_STEP_MS = 10_000;

/** The ids of the timeline's items, top to bottom. */
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

/** Holds a verb's button until the page accepts it and closes the sheet. */
export async function hold(page, verb) {
  await press(page, verb);
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  await page.mouse.up();
}

/** Presses a verb's button without releasing it. */
export const press = (page, verb) => pressOn(page, holdButton(page, verb));

/** Presses a button, once it is enabled, without releasing it. */
export async function pressOn(page, button) {
  await button.click({ trial: true });
  const box = await button.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.down();
}

/** Gives the page a clock that can be stopped. Call before opening it. */
export const giveClock = (page) => page.clock.install();

/** Stops the page's clock, so that the test controls its timers. */
export async function stopClock(page) {
  await page.clock.pauseAt((await page.evaluate(() => Date.now())) + CLOCK_STEP_MS);
}

/**
 * Starts watching for an element that exists only briefly. Resolves to a function that waits until
 * it has existed.
 */
export async function watchFor(page, selector) {
  await page.evaluate((selector) => {
    globalThis.seen ??= new Set();
    const check = () => document.querySelector(selector) && globalThis.seen.add(selector);
    new MutationObserver(check).observe(document, { childList: true, subtree: true });
    check();
  }, selector);
  return () => page.waitForFunction((selector) => globalThis.seen.has(selector), selector);
}

/** Waits until two pages show the same items. Events may reach them at different times. */
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

/** Runs a check, or a read-only verb, by its button. */
export const runCheck = (page, name) =>
  page
    .getByRole('group', { name: 'Checks without the agent' })
    .getByRole('button', { name })
    .click();

/** The approval cards above the composer. */
export const approvalCards = (page) => page.locator('[data-approval]');

/** Approval requests in the timeline with this decision: `allow`, `deny`, `void` or `open`. */
export const decided = (page, decision) => page.locator(`[data-decision="${decision}"]`);

/** The agent's commands on guest and host. */
export const commands = (page) => page.locator('[data-command]');

export const cutOffBar = (page) => page.getByTestId('cut-off');

/** Sets the autonomy in the menu. Resolves once the log shows it. */
export async function setAutonomy(page, label) {
  await page.getByRole('button', { name: 'Menu' }).click();
  const choice = page.getByRole('dialog').getByRole('button', { name: label });
  await choice.click();
  await page.locator('[aria-pressed="true"]').filter({ hasText: label }).waitFor();
  await page.getByRole('dialog').getByRole('button', { name: 'Close', exact: true }).click();
}

/** Allows all requests until one matches `pattern`. Resolves to that card. */
export async function approvalCardFor(page, pattern) {
  for (;;) {
    const card = approvalCards(page).first();
    await card.waitFor({ timeout: TURN_MS });
    const id = await card.getAttribute('data-approval');
    const request = page.locator(`[data-approval="${id}"]`);
    const command = await request.getByRole('group', { name: 'The whole command' }).innerText();
    if (pattern.test(command)) return request;
    await request.getByRole('button', { name: 'Allow' }).click();
    await request.waitFor({ state: 'detached' });
  }
}

/** The scripted agent's repair of a full disk: it empties the log that filled it. */
export const REPAIR = /truncate/;

/** Allows the repair once the agent requests it. */
export async function allowRepair(page) {
  const card = await approvalCardFor(page, REPAIR);
  await card.getByRole('button', { name: 'Allow', exact: true }).click();
}

/** Denies a request with a reason. */
export async function deny(card, reason) {
  await card.getByRole('button', { name: 'Deny', exact: true }).click();
  await card.getByLabel('Reason').fill(reason);
  const confirm = card.getByRole('button', { name: 'Confirm deny' });
  // The page ignores a tap that comes too soon, as the second one of a double tap.
  await confirm.click({ delay: DOUBLE_TAP_MS });
}

/** Elements that are wider than the screen or too small for a thumb. */
export const layoutProblems = (page) =>
  page.evaluate(() => {
    const wide = document.documentElement.scrollWidth > innerWidth ? ['the page'] : [];
    const small = [...document.querySelectorAll('button, select, a, input, textarea, summary')]
      .map((element) => ({ element, box: element.getBoundingClientRect() }))
      .filter(({ box }) => box.width > 0 && (box.width < 44 || box.height < 44))
      .filter(({ element }) => element.closest('.markdown') === null)
      .map(({ element }) => element.outerHTML.slice(0, 100));
    return [...wide, ...small];
  });
