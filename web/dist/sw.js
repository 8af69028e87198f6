// The offline shell: the page opens without a network and says since when it has none.
// Nothing under /api is ever stored, and a reachable server always wins.
const CACHE = 'shell-1';

/** Keeps the page and what it names; what belonged to an older page goes. */
async function remember() {
  const page = await fetch('/', { cache: 'no-cache' });
  if (!page.ok) return;
  const text = await page.clone().text();
  const stored = await caches.match('/');
  if (stored && (await stored.text()) === text) return;
  const cache = await caches.open(CACHE);
  const older = await cache.keys();
  const assets = [...text.matchAll(/"(\/assets\/[^"]+)"/g)].map((match) => match[1]);
  await cache.addAll(assets);
  await cache.put('/', page);
  const current = ['/', ...assets];
  for (const request of older) {
    if (!current.includes(new URL(request.url).pathname)) await cache.delete(request);
  }
}

/** Assets never change under their names. */
async function asset(request) {
  const stored = await caches.match(request);
  if (stored) return stored;
  const fresh = await fetch(request);
  if (fresh.ok) await (await caches.open(CACHE)).put(request, fresh.clone());
  return fresh;
}

self.addEventListener('install', (event) => event.waitUntil(remember()));
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

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
  try {
    const page = await fetch(event.request, { signal: AbortSignal.timeout(5000) });
    event.waitUntil(remember().catch(() => undefined));
    return page;
  } catch (error) {
    const stored = await caches.match('/');
    if (stored) return stored;
    throw error;
  }
}
