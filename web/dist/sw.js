// The offline shell: the page opens without a network and says since when it has none.
// Nothing under /api is ever stored, and a reachable server always wins. What an edge answers in its
// place is never kept. Comments are sent too: few.
const CACHE = 'shell-2';

const KINDS = { js: 'text/javascript', css: 'text/css', html: 'text/html' };

function isOurs(response, kind) {
  const type = response.headers.get('Content-Type') ?? '';
  return response.ok && !response.redirected && type.startsWith(KINDS[kind] ?? 'image/');
}

const kindOf = (path) => path.slice(path.lastIndexOf('.') + 1);

/** Keeps the page and what it names; what belonged to an older page goes. */
async function remember() {
  const page = await fetch('/', { cache: 'no-cache', redirect: 'manual' });
  if (!isOurs(page, 'html')) return;
  const text = await page.clone().text();
  const assets = [...text.matchAll(/"(\/assets\/[^"]+)"/g)].map((match) => match[1]);
  if (assets.length === 0 || !text.includes('<title>breakglass</title>')) return;
  const cache = await caches.open(CACHE);
  const stored = await cache.match('/');
  if (stored && (await stored.text()) === text) return;
  const older = await cache.keys();
  await Promise.all(assets.map((path) => keep(cache, path)));
  await cache.put('/', page);
  const current = ['/', ...assets];
  for (const request of older) {
    if (!current.includes(new URL(request.url).pathname)) await cache.delete(request);
  }
}

async function keep(cache, path) {
  const fresh = await fetch(path, { redirect: 'manual' });
  if (!isOurs(fresh, kindOf(path))) throw new Error(path);
  await cache.put(path, fresh);
}

/** Assets never change under their names. */
async function asset(request) {
  const cache = await caches.open(CACHE);
  const stored = await cache.match(request);
  if (stored) return stored;
  const fresh = await fetch(request);
  if (isOurs(fresh, kindOf(new URL(request.url).pathname))) {
    await cache.put(request, fresh.clone());
  }
  return fresh;
}

async function begin() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name)));
  await self.clients.claim();
}

self.addEventListener('install', (event) => event.waitUntil(remember()));
self.addEventListener('activate', (event) => event.waitUntil(begin()));

self.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== 'GET' || url.origin !== self.location.origin) return;
  if (url.pathname.startsWith('/assets/')) {
    event.respondWith(asset(event.request));
  } else if (event.request.mode === 'navigate' && url.pathname === '/') {
    event.respondWith(freshPage(event));
  }
});

async function freshPage(event) {
  let page;
  let failure;
  try {
    page = await fetch(event.request, { signal: AbortSignal.timeout(5000) });
  } catch (error) {
    failure = error;
  }
  if (page && page.status < 500) {
    event.waitUntil(remember().catch(() => undefined));
    return page;
  }
  const stored = await (await caches.open(CACHE)).match('/');
  if (stored) return stored;
  if (page) return page;
  throw failure;
}
