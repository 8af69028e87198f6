// Owns the Chromium of a test file and its contexts. A test fails if its console shows an error or a
// warning. Leaves the operator's actions to page.js.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { atEnd, within } from './cleanup.js';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const artifacts = fileURLToPath(new URL('../../artifacts/', import.meta.url));

/** Default timeout of Playwright, for a busy machine. */
const DEADLINE_MS = 60_000;

export const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };
export const SMALL_PHONE = { ...PHONE, viewport: { width: 360, height: 740 } };
export const DESKTOP = { viewport: { width: 1360, height: 860 } };

/** Time to close before the browser is killed. */
const CLOSE_GRACE_MS = 15_000;

// Without these flags, Chromium starts processes that a page does not need (GPU, updates, models),
// and closing it can wait for one of them for ever.
const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
];

let shared;

/** The browser of this file. Each test has its own contexts in it. */
async function browser() {
  shared ??= launch();
  return (await shared).browser;
}

async function launch() {
  if (!existsSync(executablePath)) {
    throw new Error(`${executablePath} is missing. Install it: apt-get install chromium`);
  }
  // Only a browser server exposes its process, which is killed by its pid.
  const server = await chromium.launchServer({ executablePath, args: ARGS, timeout: DEADLINE_MS });
  return { server, browser: await chromium.connect(server.wsEndpoint(), { timeout: DEADLINE_MS }) };
}

/** The pid of the browser's main process, which is also its process group. */
export const browserPid = async () => (await shared).server.process().pid;

/** Closes the browser, or kills it after `graceMs`. Each test file calls this once, in `after`. */
export async function closeBrowser(_context, graceMs = CLOSE_GRACE_MS) {
  if (shared === undefined) return;
  const { server } = await shared;
  shared = undefined;
  const { pid } = server.process();
  try {
    await within(graceMs, 'the browser to close', () => server.close());
  } catch (error) {
    console.error(`${error.message}: killing its process group ${pid}`);
    process.kill(-pid, 'SIGKILL');
  }
}

/**
 * Opens a fresh browser profile. Console messages that match `allow` are expected, such as those
 * about a failed request.
 */
export async function openContext(test, options = PHONE, allow = undefined) {
  const context = await (await browser()).newContext({ colorScheme: 'dark', ...options });
  context.setDefaultTimeout(DEADLINE_MS);
  const messages = [];
  context.on('console', (message) => {
    const bad = message.type() === 'error' || message.type() === 'warning';
    if (bad && !allow?.test(message.text())) messages.push(message.text());
  });
  context.on('weberror', (error) => messages.push(String(error.error())));
  atEnd(test, 'the browser context', async () => {
    await context.close();
    assert.deepEqual(messages, [], 'the console is clean');
  });
  return context;
}

/**
 * Opens the link in a fresh profile and waits for the incident. `prepare` gets the page before it
 * is opened.
 */
export async function signIn(test, link, options, allow, prepare = async () => undefined) {
  const context = await openContext(test, options, allow);
  const page = await context.newPage();
  await prepare(page);
  await page.goto(link);
  await opened(page);
  return page;
}

/** Resolves once the incident's log is loaded. */
export const opened = (page) => page.getByText('Incident opened for devvm.').waitFor();

/** Opens another tab of the same profile on `origin`. */
export async function secondTab(page, origin) {
  const tab = await page.context().newPage();
  await tab.goto(origin);
  await opened(tab);
  return tab;
}

/** Console messages about a closed or refused connection. */
export const NETWORK = /net::ERR_|Failed to load resource/;

export async function screenshot(page, name) {
  mkdirSync(artifacts, { recursive: true });
  await page.screenshot({ path: `${artifacts}${name}.png` });
}
