// Hands a prompt over from one agent, whose model does not answer, to another: the real claude CLI and
// the real opencode, each in its sandbox.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { violations } from './support/axe.js';
import { closeBrowser, NETWORK, openContext, opened, screenshot } from './support/browser.js';
import { ask } from './support/page.js';
import { freePort, serveUnreachable, start, target } from './support/server.js';

after(closeBrowser);

const tests = fileURLToPath(new URL('../', import.meta.url));
const quoted = (text) => JSON.stringify(text);

/** Starts a scripted model and resolves to its URL. */
async function model(test, replies) {
  const child = start(test, `${target}examples/model`, []);
  child.stdin.write(`${JSON.stringify({ replies })}\n`);
  const [line] = await new Promise((resolve) => {
    createInterface({ input: child.stdout }).once('line', (line) => resolve([line]));
  });
  return JSON.parse(line).url;
}

function opencode() {
  const path = `${tests}acp/node_modules/opencode-linux-x64-baseline/bin/opencode`;
  assert.ok(existsSync(path), 'opencode is missing. Install it: npm ci --prefix tests/acp');
  return path;
}

/** The configuration of opencode as a second agent, with the model at `url`. */
function opencodeConfig(url) {
  const config = {
    model: 'local/scripted',
    provider: {
      local: {
        npm: '@ai-sdk/openai-compatible',
        name: 'local',
        options: { baseURL: `${url}/v1`, apiKey: 'none' },
        models: { scripted: {} },
      },
    },
    agent: { title: { disable: true } },
  };
  return [
    '[[agents]]\nname = "opencode"\nargs = ["acp"]',
    `command = ${quoted(opencode())}`,
    `egress = ["${new URL(url).host}"]`,
    `environment = [${quoted(`OPENCODE_CONFIG_CONTENT=${JSON.stringify(config)}`)}]\n`,
  ].join('\n');
}

test('a prompt is handed over in one tap if the model does not answer', async (t) => {
  const url = await model(t, [{ text: 'The disk is full.' }]);
  const agent = [
    `command = ${quoted(`${tests}claude/node_modules/.bin/claude`)}`,
    `base_url = "http://127.0.0.1:${await freePort()}"`,
    'max_api_retries = 1\nmodel_check_hours = 0',
  ].join('\n');
  const { origin, token } = await serveUnreachable(t, { agent, more: opencodeConfig(url), modelKey: 'sk-of-the-tests' });
  const page = await (await openContext(t, undefined, NETWORK)).newPage();
  await page.goto(origin);
  await page.getByLabel('Access token').fill(token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await opened(page);
  await ask(page, 'What is wrong with it?');
  await page.locator('[data-outcome="failed"]').waitFor();
  const askOpencode = page.getByRole('button', { name: 'Ask opencode' });
  await askOpencode.waitFor();
  await screenshot(page, 'next-agent');
  assert.deepEqual(await violations(page), []);
  await askOpencode.click();
  await page.getByText('The disk is full.').waitFor();
  await page.locator('[data-outcome="done"]').waitFor();
  assert.equal(await askOpencode.count(), 0);
  await screenshot(page, 'next-agent-answered');
});
