import { afterEach, expect, test, vi } from 'vitest';

/** Opens the page at this URL in a tab with this session storage; resolves to its route. */
async function open(url: string, storage = new Map<string, string>()) {
  const at = new URL(url, 'https://rescue.example.org');
  vi.stubGlobal('location', at);
  vi.stubGlobal('history', {
    replaceState: (_state: unknown, _title: string, to: string) => {
      at.href = new URL(to, at).href;
    },
  });
  vi.stubGlobal('addEventListener', () => undefined);
  vi.stubGlobal('sessionStorage', {
    getItem: (key: string) => storage.get(key) ?? null,
    setItem: (key: string, value: string) => storage.set(key, value),
    removeItem: (key: string) => storage.delete(key),
  });
  vi.resetModules();
  const page = await import('./route.svelte');
  return { ...page, route: page.router.route, at };
}

afterEach(() => vi.unstubAllGlobals());

test('a link opens its incident, from the fragment or the query', async () => {
  for (const url of ['/#/incident/7', '/?incident=7', '/?incident=7#/']) {
    const { route, at } = await open(url);
    expect(route, url).toEqual({ view: 'incident', incident: '7' });
    expect(at.href).toBe('https://rescue.example.org/#/incident/7');
  }
  expect((await open('/')).route).toEqual({ view: 'now' });
  expect((await open('/#/elsewhere/7')).route).toEqual({ view: 'now' });
});

test('the saved route is restored once after a sign-in at the edge', async () => {
  const storage = new Map<string, string>();
  const before = await open('/#/incident/7', storage);
  before.saveRoute();
  expect((await open('/', storage)).route).toEqual({ view: 'incident', incident: '7' });
  expect((await open('/', storage)).route).toEqual({ view: 'now' });
});

test('a route in the URL wins over the saved one', async () => {
  const storage = new Map<string, string>();
  (await open('/#/history', storage)).saveRoute();
  expect((await open('/?incident=7', storage)).route).toEqual({ view: 'incident', incident: '7' });
  expect((await open('/', storage)).route).toEqual({ view: 'now' });
});

test('a truncated sign-in link yields a wrong code and no exception', async () => {
  const page = await open('/#sign-in=abc%2');
  expect(page.takeSignInCode()).toBe('abc%2');
  expect(page.at.hash).toBe('');
});

test('an unused one-time code is restored after a sign-in at the edge', async () => {
  const storage = new Map<string, string>();
  const before = await open('/#sign-in=a%2Fb', storage);
  const code = before.takeSignInCode();
  expect(code).toBe('a/b');
  expect(before.at.hash).toBe('');
  before.saveSignInCode(code!);
  const after = await open('/', storage);
  expect(after.takeSignInCode()).toBe('a/b');
  expect(after.at.hash).toBe('');
});
