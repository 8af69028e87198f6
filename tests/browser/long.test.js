import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { closeBrowser, openContext, opened, signIn } from './support/browser.js';
import { startDrill } from './support/drill.js';
import { runCheck } from './support/page.js';

after(closeBrowser);

const COUNT = 10_000;

/** An incident of many events, as the server would send it. */
function longLog() {
  const events = Array.from({ length: COUNT }, (_, at) => {
    const seq = at + 1;
    const common = { seq, at: new Date(seq * 1000).toISOString(), actor: 'system', hash: '' };
    const message = `Notice ${seq} of a long night on the machine, long enough to wrap on a phone.`;
    return { ...common, kind: 'notice', level: 'info', code: 'filler', message };
  });
  const frames = events.map((e) => `id: ${e.seq}\nevent: notice\ndata: ${JSON.stringify(e)}\n\n`);
  return `${frames.join('')}event: caught-up\ndata: {"seq":${COUNT}}\n\n`;
}

test('10,000 events open at their end and scroll to their start, few of them mounted', async (t) => {
  const { link, origin } = await startDrill(t);
  const first = await signIn(t, link);
  const context = await openContext(t);
  await context.addCookies(await first.context().cookies());
  const page = await context.newPage();
  await page.route('**/api/incidents/*/events', (route) =>
    route.fulfill({ contentType: 'text/event-stream', body: longLog() }),
  );
  await page.goto(origin);
  await page.getByText(`Notice ${COUNT} of`).waitFor();
  const frames = await page.getByRole('main').evaluate(async (main) => {
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
    let count = 0;
    let most = 0;
    for (; main.scrollTop > 0 && count < 3_000; count += 1) {
      main.scrollTop -= 800;
      await frame();
      most = Math.max(most, main.querySelectorAll('[data-item]').length);
    }
    return { count, most };
  });
  await page.getByText('Notice 1 of').waitFor();
  assert.ok(frames.most < 500, `${frames.most} items were mounted`);
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
