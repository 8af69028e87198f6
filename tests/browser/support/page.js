// What an operator does and sees, in the page's own words.

const HELD_MS = 1_200;

/** Ids of the timeline's items, top to bottom. Each must be there once. */
export const itemIds = (page) =>
  page.locator('[data-item]').evaluateAll((items) => items.map((item) => item.dataset.id));

export const verdicts = (page) => page.getByTestId('verdict');
export const turnEnd = (page) => page.locator('[data-outcome]');
export const typing = (page) => page.getByTestId('typing');
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
  await page.getByRole('dialog').waitFor({ state: 'hidden', timeout: HELD_MS * 5 });
  await page.mouse.up();
}

/** Puts a finger on a verb's button and leaves it there. */
export async function press(page, verb) {
  const box = await holdButton(page, verb).boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.down();
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
