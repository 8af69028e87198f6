// Timelines of 10,000 events: how many items are mounted, and what new events do to the scroll position.
// Leaves the reduction of events to the tests in web.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { closeBrowser, openContext, opened, signIn } from './support/browser.js';
import { startDrill } from './support/drill.js';
import { runCheck } from './support/page.js';
import { streamOf } from './support/stream.js';

after(closeBrowser);

const COUNT = 10_000;

const notices = Array.from({ length: COUNT }, (_, at) => ({
  kind: 'notice',
  level: 'info',
  code: 'filler',
  message: `Notice ${at + 1} of a long night on the machine, long enough to wrap on a phone.`,
}));

/** A tool call with four commands on the guest, in ten events. */
function toolCall(at) {
  const tool = { turn: 1, tool_call: `t${at}` };
  const start = { kind: 'tool_started', ...tool, tool: 'Bash', summary: '', input: {} };
  const end = { kind: 'tool_finished', ...tool, is_error: false, output: '', omitted_bytes: 0 };
  const runs = [0, 1, 2, 3].flatMap((n) => {
    const command = `c${at}-${n}`;
    const exec = { host: 'devvm', mode: 'exec', text: `step ${at} of the night` };
    return [
      { kind: 'command_started', command, ...tool, ...exec },
      { kind: 'command_output', command, stream: 'stdout', text: 'a line\n'.repeat(1 + (at % 9)) },
    ];
  });
  return [{ ...start, input: { command: `Call ${at} of the night` } }, ...runs, end];
}

/** Opens a page that gets `log` instead of the incident's own log. */
async function openLog(t, log) {
  const { link, origin } = await startDrill(t);
  const first = await signIn(t, link);
  const context = await openContext(t);
  await context.addCookies(await first.context().cookies());
  const page = await context.newPage();
  await page.route('**/api/incidents/*/events', (route) =>
    route.fulfill({ contentType: 'text/event-stream', body: streamOf(log) }),
  );
  await page.goto(origin);
  // The browser may render no frames for a page in the background.
  await page.bringToFront();
  return page;
}

/** Scrolls to the start. Resolves to the number of steps, and the maximum number of mounted items. */
const scrollUp = (page) =>
  page.getByRole('main').evaluate(async (main) => {
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
    let count = 0;
    let maxMounted = 0;
    for (; main.scrollTop > 0 && count < 3_000; count += 1) {
      main.scrollTop -= 800;
      await frame();
      maxMounted = Math.max(maxMounted, main.querySelectorAll('[data-item], [data-command]').length);
    }
    return { count, maxMounted };
  });

test('10,000 events open at the end and scroll to the start with few items mounted', async (t) => {
  const page = await openLog(t, notices);
  await page.getByText(`Notice ${COUNT} of`).waitFor();
  const scrolled = await scrollUp(page);
  await page.getByText('Notice 1 of').waitFor();
  assert.ok(scrolled.maxMounted < 500, `${scrolled.maxMounted} items were mounted`);
  assert.ok(scrolled.count < 3_000, 'the start was reached');
});

test('10,000 events of tool calls scroll to the start with few commands mounted', async (t) => {
  const calls = Array.from({ length: COUNT / 10 }, (_, at) => toolCall(at + 1)).flat();
  const page = await openLog(t, calls);
  await page.getByText(`Call ${COUNT / 10} of`).waitFor();
  const scrolled = await scrollUp(page);
  await page.getByText('Call 1 of').waitFor();
  assert.ok(scrolled.maxMounted < 500, `${scrolled.maxMounted} items and commands were mounted`);
  assert.ok(scrolled.count < 3_000, 'the start was reached');
});

test('new items do not move a timeline that is scrolled up, and are counted', async (t) => {
  const { link } = await startDrill(t);
  const page = await signIn(t, link);
  await opened(page);
  for (const name of ['forensics', 'status', 'forensics', 'status']) {
    const before = await page.getByTestId('verdict').count();
    await runCheck(page, name);
    await page.getByTestId('verdict').nth(before).waitFor();
  }
  const other = await page.context().newPage();
  await other.goto(page.url());
  await opened(other);
  const main = page.getByRole('main');
  await main.evaluate((element) => (element.scrollTop = 0));
  await page.getByRole('button', { name: 'Latest' }).waitFor();
  await runCheck(other, 'status');
  const newItems = page.getByRole('button', { name: /^↓ \d+ new/ });
  await newItems.waitFor();
  assert.equal(await main.evaluate((element) => element.scrollTop), 0);
  await newItems.click();
  await newItems.waitFor({ state: 'detached' });
});
