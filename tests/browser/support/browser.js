// Chromium, and pages that fail their test if anything is wrong in their console.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { atEnd, within } from './cleanup.js';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const artifacts = fileURLToPath(new URL('../../artifacts/', import.meta.url));

/** How long anything may take that a test waits for, on a machine that others use. */
const DEADLINE_MS = 60_000;

export const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };
export const SMALL_PHONE = { ...PHONE, viewport: { width: 360, height: 740 } };
export const DESKTOP = { viewport: { width: 1360, height: 860 } };

/** How long the browser may take to close before it is killed. */
const CLOSE_GRACE_MS = 15_000;

// Without these, Chromium starts processes that have nothing to do with a page (GPU, updates,
// models), and its close can wait for one of them for ever.
const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
];

let shared;

/** One browser for the file; each test has its own contexts in it. */
async function browser() {
  shared ??= launch();
  return (await shared).browser;
}

async function launch() {
  if (!existsSync(executablePath)) {
    throw new Error(`${executablePath} is missing. Install it: apt-get install chromium`);
  }
  // A server, not a child of the library's own: only this way has its process a number.
  const server = await chromium.launchServer({ executablePath, args: ARGS, timeout: DEADLINE_MS });
  return { server, browser: await chromium.connect(server.wsEndpoint(), { timeout: DEADLINE_MS }) };
}

/** The number of the browser's first process, which is also that of its process group. */
export const browserPid = async () => (await shared).server.process().pid;

/** Ends the browser, by force after a grace; each file of tests calls this once, in `after`. */
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
 * A fresh browser profile. With `allow`, console messages that match it are expected: what the
 * browser itself says about a failed request.
 */
export async function openContext(test, options = PHONE, allow = undefined) {
  const context = await (await browser()).newContext({ colorScheme: 'dark', ...options });
  context.setDefaultTimeout(DEADLINE_MS);
  const wrong = [];
  context.on('console', (message) => {
    const bad = message.type() === 'error' || message.type() === 'warning';
    if (bad && !allow?.test(message.text())) wrong.push(message.text());
  });
  context.on('weberror', (error) => wrong.push(String(error.error())));
  atEnd(test, 'the browser context', async () => {
    await context.close();
    assert.deepEqual(wrong, [], 'the console is clean');
  });
  return context;
}

/**
 * Opens the link in a fresh phone and waits for the incident to be there. `prepare` is given the
 * page before that.
 */
export async function signIn(test, link, options, allow, prepare = async () => undefined) {
  const context = await openContext(test, options, allow);
  const page = await context.newPage();
  await prepare(page);
  await page.goto(link);
  await opened(page);
  return page;
}

/** Resolves when the incident's log was read. */
export const opened = (page) => page.getByText('Incident opened for devvm.').waitFor();

/** Another tab of the same browser profile, on `origin`. */
export async function secondTab(page, origin) {
  const tab = await page.context().newPage();
  await tab.goto(origin);
  await opened(tab);
  return tab;
}

/** What the browser says about a request whose connection was cut or refused. */
export const NETWORK = /net::ERR_|Failed to load resource/;

export async function screenshot(page, name) {
  mkdirSync(artifacts, { recursive: true });
  await page.screenshot({ path: `${artifacts}${name}.png` });
}
