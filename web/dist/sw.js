// The offline shell: the page opens without a network and says since when it has none.
// Nothing under /api is ever stored, and a reachable server always wins.
const CACHE = 'shell-1';

async function remember() {
  const cache = await caches.open(CACHE);
  const page = await fetch('/', { cache: 'no-cache' });
  const assets = [...(await page.clone().text()).matchAll(/"(\/assets\/[^"]+)"/g)].map((m) => m[1]);
  await cache.addAll(assets);
  await cache.put('/', page);
  for (const stored of await cache.keys()) {
    const path = new URL(stored.url).pathname;
    if (path !== '/' && !assets.includes(path)) await cache.delete(stored);
  }
}

self.addEventListener('install', (event) => event.waitUntil(remember()));
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

self.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== 'GET' || url.origin !== self.location.origin) return;
  if (url.pathname.startsWith('/assets/')) {
    event.respondWith(caches.match(event.request).then((hit) => hit ?? fetch(event.request)));
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
