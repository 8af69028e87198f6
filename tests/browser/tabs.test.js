// Seven tabs of one browser, over six connections: which keep a stream, which poll, and what each shows.
// Leaves the choice of slots without a browser to the tests in web.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { closeBrowser, NETWORK, openContext, opened } from './support/browser.js';
import { startDrill } from './support/drill.js';
import { startEdge } from './support/edge.js';
import { hold, openPower, runCheck, sameItems, verdicts } from './support/page.js';

after(closeBrowser);

/** Maximum number of connections of a browser to a server over HTTP/1.1. */
const CONNECTIONS = 6;
const TABS = CONNECTIONS + 1;

/** Opens seven tabs of one browser over HTTP/1.1. `prepare` gets the browser context first. */
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

/** Makes a tab believe that it is hidden or visible, because the browser shows all tabs of a test. */
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

/** Whether this tab has a stream slot. Runs in the page. */
const hasSlot = () =>
  navigator.locks.request(`me-${Math.random()}`, async ({ name }) => {
    const { held } = await navigator.locks.query();
    const me = held.find((lock) => lock.name === name).clientId;
    return held.some((lock) => lock.clientId === me && lock.name.startsWith('breakglass-stream'));
  });

async function waitForSlot(tab, wanted) {
  const end = Date.now() + 60_000;
  while ((await tab.evaluate(hasSlot)) !== wanted) {
    if (Date.now() > end) assert.fail(`has a stream slot: ${!wanted}`);
    await tab.waitForTimeout(50);
  }
}

async function firstWithoutSlot(tabs) {
  for (const tab of tabs) if (!(await tab.evaluate(hasSlot))) return tab;
  return assert.fail('every tab has a stream slot');
}

/** Waits until `count` streams are open at the edge. */
async function waitForStreams(edge, count, page) {
  const end = Date.now() + 60_000;
  while (edge.streams() !== count) {
    if (Date.now() > end) assert.equal(edge.streams(), count, 'open streams');
    await page.waitForTimeout(50);
  }
}

test('seven visible tabs all stay up to date, and each can send a request', async (t) => {
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
  assert.ok(edge.maxStreams() < CONNECTIONS, `${edge.maxStreams()} streams at once`);
  await openPower(tabs.at(-1));
  await hold(tabs.at(-1), 'cycle');
  await tabs[0].locator('[data-verb="cycle"]').waitFor();
});

test('the focused tab takes over the stream of another', async (t) => {
  const { edge, tabs } = await sevenTabs(t);
  const [last] = tabs;
  await waitForStreams(edge, 3, last);
  const idle = await firstWithoutSlot(tabs);
  await idle.evaluate(() => dispatchEvent(new Event('focus')));
  await waitForSlot(idle, true);
  await waitForStreams(edge, 3, last);
  await runCheck(last, 'status');
  await verdicts(last).waitFor();
  for (const tab of tabs) await verdicts(tab).waitFor();
  assert.ok(edge.maxStreams() < CONNECTIONS, `${edge.maxStreams()} streams at once`);
});

test('hidden tabs close their stream and get missed events once when visible again', async (t) => {
  const { edge, tabs } = await sevenTabs(t);
  const [seen, ...hidden] = tabs;
  for (const tab of hidden) await setHidden(tab, true);
  await waitForStreams(edge, 1, seen);
  await runCheck(seen, 'status');
  await verdicts(seen).waitFor();
  assert.equal(await verdicts(hidden[0]).count(), 0, 'a hidden tab sends no request');
  await setHidden(seen, true);
  await waitForStreams(edge, 0, seen);
  for (const tab of hidden) await setHidden(tab, false);
  for (const tab of hidden) {
    await verdicts(tab).waitFor();
    await sameItems(tab, seen);
  }
  await runCheck(hidden.at(-1), 'status');
  await verdicts(hidden.at(-1)).nth(1).waitFor();
});

test('a closed tab frees its stream slot for another', async (t) => {
  const { edge, tabs } = await sevenTabs(t);
  await waitForStreams(edge, 3, tabs[0]);
  for (const tab of tabs.splice(0, 4)) await tab.close();
  await waitForStreams(edge, 3, tabs[0]);
});

test('without Web Locks the focused tab has the stream and the others poll', async (t) => {
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
  await waitForStreams(edge, 1, last);
  await runCheck(last, 'status');
  for (const tab of tabs) await verdicts(tab).waitFor();
  await last.evaluate(() => {
    globalThis.isFocused = false;
    dispatchEvent(new Event('blur'));
  });
  await waitForStreams(edge, 0, last);
  await runCheck(tabs[0], 'status');
  for (const tab of tabs) await verdicts(tab).nth(1).waitFor();
});

test('a page restored by the back button resumes after its last event', async (t) => {
  const { link, origin } = await startDrill(t);
  const edge = await startEdge(t, origin);
  const context = await openContext(t, undefined, NETWORK);
  const page = await context.newPage();
  await page.goto(link.replace(origin, edge.origin));
  await opened(page);
  await page.goto('about:blank');
  await waitForStreams(edge, 0, page);
  await page.goBack();
  await opened(page);
  await runCheck(page, 'status');
  await verdicts(page).waitFor();
  assert.equal(await verdicts(page).count(), 1);
});
