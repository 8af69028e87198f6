import { afterEach, expect, test, vi } from 'vitest';

/** Opens the page at this address in a tab that keeps `kept` for it; resolves to what it shows. */
async function open(address: string, kept = new Map<string, string>()) {
  const at = new URL(address, 'https://rescue.example.org');
  vi.stubGlobal('location', at);
  vi.stubGlobal('history', {
    replaceState: (_state: unknown, _title: string, to: string) => {
      at.href = new URL(to, at).href;
    },
  });
  vi.stubGlobal('addEventListener', () => undefined);
  vi.stubGlobal('sessionStorage', {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => kept.set(key, value),
    removeItem: (key: string) => kept.delete(key),
  });
  vi.resetModules();
  const page = await import('./route.svelte');
  return { ...page, route: page.router.route, at };
}

afterEach(() => vi.unstubAllGlobals());

test('a link to an incident opens it, in the fragment or in the query', async () => {
  for (const address of ['/#/incident/7', '/?incident=7', '/?incident=7#/']) {
    const { route, at } = await open(address);
    expect(route, address).toEqual({ view: 'incident', incident: '7' });
    expect(at.href).toBe('https://rescue.example.org/#/incident/7');
  }
  expect((await open('/')).route).toEqual({ view: 'now' });
  expect((await open('/#/elsewhere/7')).route).toEqual({ view: 'now' });
});

test('what was shown is shown again after a sign-in at the edge, once', async () => {
  const kept = new Map<string, string>();
  const before = await open('/#/incident/7', kept);
  before.keepRoute();
  expect((await open('/', kept)).route).toEqual({ view: 'incident', incident: '7' });
  expect((await open('/', kept)).route).toEqual({ view: 'now' });
});

test('an address that says what to show wins over what was kept', async () => {
  const kept = new Map<string, string>();
  (await open('/#/history', kept)).keepRoute();
  expect((await open('/?incident=7', kept)).route).toEqual({ view: 'incident', incident: '7' });
  expect((await open('/', kept)).route).toEqual({ view: 'now' });
});

test('a sign-in link that was cut in the middle of a letter is a wrong code and no more', async () => {
  const page = await open('/#sign-in=abc%2');
  expect(page.takeSignInCode()).toBe('abc%2');
  expect(page.at.hash).toBe('');
});

test('a one-time code that the edge kept from the server is there after the sign-in', async () => {
  const kept = new Map<string, string>();
  const before = await open('/#sign-in=a%2Fb', kept);
  const code = before.takeSignInCode();
  expect(code).toBe('a/b');
  expect(before.at.hash).toBe('');
  before.keepSignInCode(code!);
  const after = await open('/', kept);
  expect(after.takeSignInCode()).toBe('a/b');
  expect(after.at.hash).toBe('');
});
