import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { closeBrowser, NETWORK, openContext, opened } from './support/browser.js';
import { startDrill } from './support/drill.js';
import { startEdge } from './support/edge.js';
import { hold, openPower, runCheck, sameItems, verdicts } from './support/page.js';

after(closeBrowser);

/** One more than a browser opens connections to a server over HTTP/1.1. */
const TABS = 7;
/** What a browser opens over HTTP/1.1; a button needs one of them. */
const CONNECTIONS = 6;

/** Seven tabs of one browser on one server, over plain HTTP/1.1. `prepare` is given the context. */
async function sevenTabs(t, prepare = async () => undefined) {
  const { link, origin } = await startDrill(t);
  const edge = await startEdge(t, origin);
  const context = await openContext(t, undefined, NETWORK);
  await prepare(context);
  const first = await context.newPage();
  await first.goto(link.replace(origin, edge.origin));
  await opened(first);
  const others = Array.from({ length: TABS - 1 }, async () => {
    const tab = await context.newPage();
    await tab.goto(edge.origin);
    await opened(tab);
    return tab;
  });
  return { edge, tabs: [first, ...(await Promise.all(others))] };
}

/** Has a tab take itself for hidden, or for looked at; the browser shows all tabs of a test. */
const setHidden = (tab, hidden) =>
  tab.evaluate((hidden) => {
    for (const [name, value] of [
      ['hidden', hidden],
      ['visibilityState', hidden ? 'hidden' : 'visible'],
    ]) {
      Object.defineProperty(document, name, {
        configurable: true,
        get: () => value,
      });
    }
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);

/** Whether this tab has one of the places for a stream that stays. */
const hasPlace = () =>
  navigator.locks.request(`me-${Math.random()}`, async ({ name }) => {
    const { held } = await navigator.locks.query();
    const me = held.find((lock) => lock.name === name).clientId;
    return held.some((lock) => lock.clientId === me && lock.name.startsWith('breakglass-stream'));
  });

async function keepsStream(tab, wanted) {
  const end = Date.now() + 60_000;
  while ((await tab.evaluate(hasPlace)) !== wanted) {
    if (Date.now() > end) assert.fail(`a stream that stays: ${!wanted}`);
    await tab.waitForTimeout(50);
  }
}

async function firstWithoutStream(tabs) {
  for (const tab of tabs) if (!(await tab.evaluate(hasPlace))) return tab;
  return assert.fail('each tab keeps a stream');
}

/** Resolves once so many streams are kept at the edge. */
async function streams(edge, count, page) {
  const end = Date.now() + 60_000;
  while (edge.streams() !== count) {
    if (Date.now() > end) assert.equal(edge.streams(), count, 'streams that are kept');
    await page.waitForTimeout(50);
  }
}

test('seven windows side by side all follow, and a button of each gets through', async (t) => {
  const { edge, tabs } = await sevenTabs(t);
  for (const [at, tab] of tabs.entries()) {
    await runCheck(tab, 'status');
    await verdicts(tab).nth(at).waitFor();
  }
  for (const tab of tabs) {
    await verdicts(tab)
      .nth(TABS - 1)
      .waitFor();
    await sameItems(tab, tabs[0]);
  }
  assert.ok(edge.most() < CONNECTIONS, `${edge.most()} streams at once`);
  await openPower(tabs.at(-1));
  await hold(tabs.at(-1), 'cycle');
  await tabs[0].locator('[data-verb="cycle"]').waitFor();
});

test('the window that is worked in is live, and another gives its stream away for it', async (t) => {
  const { edge, tabs } = await sevenTabs(t);
  const [last] = tabs;
  await streams(edge, 3, last);
  const idle = await firstWithoutStream(tabs);
  await idle.evaluate(() => dispatchEvent(new Event('focus')));
  await keepsStream(idle, true);
  await streams(edge, 3, last);
  await runCheck(last, 'status');
  await verdicts(last).waitFor();
  for (const tab of tabs) await verdicts(tab).waitFor();
  assert.ok(edge.most() < CONNECTIONS, `${edge.most()} streams at once`);
});

test('hidden tabs let go of their stream, and get what they missed once when they are back', async (t) => {
  const { edge, tabs } = await sevenTabs(t);
  const [seen, ...hidden] = tabs;
  for (const tab of hidden) await setHidden(tab, true);
  await streams(edge, 1, seen);
  await runCheck(seen, 'status');
  await verdicts(seen).waitFor();
  assert.equal(await verdicts(hidden[0]).count(), 0, 'a hidden tab asks for nothing');
  await setHidden(seen, true);
  await streams(edge, 0, seen);
  for (const tab of hidden) await setHidden(tab, false);
  for (const tab of hidden) {
    await verdicts(tab).waitFor();
    await sameItems(tab, seen);
  }
  await runCheck(hidden.at(-1), 'status');
  await verdicts(hidden.at(-1)).nth(1).waitFor();
});

test('a tab that is closed leaves its stream to another', async (t) => {
  const { edge, tabs } = await sevenTabs(t);
  await streams(edge, 3, tabs[0]);
  for (const tab of tabs.splice(0, 4)) await tab.close();
  await streams(edge, 3, tabs[0]);
});

test('without Web Locks the window that has the focus is live, and the others follow', async (t) => {
  const { edge, tabs } = await sevenTabs(t, (context) =>
    context.addInitScript(() => {
      Object.defineProperty(Navigator.prototype, 'locks', {
        get: () => undefined,
      });
      document.hasFocus = () => globalThis.isFocused === true;
    }),
  );
  const last = tabs.at(-1);
  await last.evaluate(() => {
    globalThis.isFocused = true;
    dispatchEvent(new Event('focus'));
  });
  await streams(edge, 1, last);
  await runCheck(last, 'status');
  for (const tab of tabs) await verdicts(tab).waitFor();
  await last.evaluate(() => {
    globalThis.isFocused = false;
    dispatchEvent(new Event('blur'));
  });
  await streams(edge, 0, last);
  await runCheck(tabs[0], 'status');
  for (const tab of tabs) await verdicts(tab).nth(1).waitFor();
});

test('a page that comes back by the back button goes on after its last event', async (t) => {
  const { link, origin } = await startDrill(t);
  const edge = await startEdge(t, origin);
  const context = await openContext(t, undefined, NETWORK);
  const page = await context.newPage();
  await page.goto(link.replace(origin, edge.origin));
  await opened(page);
  await page.goto('about:blank');
  await streams(edge, 0, page);
  await page.goBack();
  await opened(page);
  await runCheck(page, 'status');
  await verdicts(page).waitFor();
  assert.equal(await verdicts(page).count(), 1);
});
