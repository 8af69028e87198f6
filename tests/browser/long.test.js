import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { closeBrowser, openContext, opened, signIn } from './support/browser.js';
import { startDrill } from './support/drill.js';
import { runCheck } from './support/page.js';

after(closeBrowser);

const COUNT = 10_000;

/** An incident of many events, as the server would send it. */
function longLog(bodies) {
  const frames = bodies.map((body, at) => {
    const seq = at + 1;
    const common = { seq, at: new Date(seq * 1000).toISOString(), actor: 'system', hash: '' };
    const data = JSON.stringify({ ...common, ...body });
    return `id: ${seq}\nevent: ${body.kind}\ndata: ${data}\n\n`;
  });
  return `${frames.join('')}event: caught-up\ndata: {"seq":${bodies.length}}\n\n`;
}

const notices = Array.from({ length: COUNT }, (_, at) => ({
  kind: 'notice',
  level: 'info',
  code: 'filler',
  message: `Notice ${at + 1} of a long night on the machine, long enough to wrap on a phone.`,
}));

/** A tool call that runs some commands on the guest, in ten events. */
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

/** A page that is given `log` instead of the incident's own. */
async function openLog(t, log) {
  const { link, origin } = await startDrill(t);
  const first = await signIn(t, link);
  const context = await openContext(t);
  await context.addCookies(await first.context().cookies());
  const page = await context.newPage();
  await page.route('**/api/incidents/*/events', (route) =>
    route.fulfill({ contentType: 'text/event-stream', body: longLog(log) }),
  );
  await page.goto(origin);
  // A page behind another one may be given no frames to scroll by.
  await page.bringToFront();
  return page;
}

/** Scrolls to the start; resolves to the steps that it took and the most that was mounted. */
const scrollUp = (page) =>
  page.getByRole('main').evaluate(async (main) => {
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
    let count = 0;
    let most = 0;
    for (; main.scrollTop > 0 && count < 3_000; count += 1) {
      main.scrollTop -= 800;
      await frame();
      most = Math.max(most, main.querySelectorAll('[data-item], [data-command]').length);
    }
    return { count, most };
  });

test('10,000 events open at their end and scroll to their start, few of them mounted', async (t) => {
  const page = await openLog(t, notices);
  await page.getByText(`Notice ${COUNT} of`).waitFor();
  const frames = await scrollUp(page);
  await page.getByText('Notice 1 of').waitFor();
  assert.ok(frames.most < 500, `${frames.most} items were mounted`);
  assert.ok(frames.count < 3_000, 'the start was reached');
});

test('commands under their tool calls are mounted as sparingly', async (t) => {
  const calls = Array.from({ length: COUNT / 10 }, (_, at) => toolCall(at + 1)).flat();
  const page = await openLog(t, calls);
  await page.getByText(`Call ${COUNT / 10} of`).waitFor();
  const frames = await scrollUp(page);
  await page.getByText('Call 1 of').waitFor();
  assert.ok(frames.most < 500, `${frames.most} items and commands were mounted`);
  assert.ok(frames.count < 3_000, 'the start was reached');
});

test('what comes while one reads further up does not move the page, and is counted', async (t) => {
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
  const below = page.getByRole('button', { name: 'new below' });
  await below.waitFor();
  assert.equal(await main.evaluate((element) => element.scrollTop), 0);
  await below.click();
  await below.waitFor({ state: 'detached' });
});
