// The offline shell: the page opens without a network. Never caches /api, nor an edge's answer, and
// prefers the server. Comments are sent too, so keep them few.
const CACHE = 'shell-2';

const TYPES = { js: 'text/javascript', css: 'text/css', html: 'text/html' };

function isFromServer(response, extension) {
  const type = response.headers.get('Content-Type') ?? '';
  return response.ok && !response.redirected && type.startsWith(TYPES[extension] ?? 'image/');
}

const extensionOf = (path) => path.slice(path.lastIndexOf('.') + 1);

/** Caches the page and its assets, and drops those of an older page. */
async function cachePage() {
  const page = await fetch('/', { cache: 'no-cache', redirect: 'manual' });
  if (!isFromServer(page, 'html')) return;
  const text = await page.clone().text();
  const assets = [...text.matchAll(/"(\/assets\/[^"]+)"/g)].map((match) => match[1]);
  if (assets.length === 0 || !text.includes('<title>breakglass</title>')) return;
  const cache = await caches.open(CACHE);
  const stored = await cache.match('/');
  if (stored && (await stored.text()) === text) return;
  const older = await cache.keys();
  await Promise.all(assets.map((path) => cacheAsset(cache, path)));
  await cache.put('/', page);
  const current = ['/', ...assets];
  for (const request of older) {
    if (!current.includes(new URL(request.url).pathname)) await cache.delete(request);
  }
}

async function cacheAsset(cache, path) {
  const fresh = await fetch(path, { redirect: 'manual' });
  if (!isFromServer(fresh, extensionOf(path))) throw new Error(path);
  await cache.put(path, fresh);
}

/** An asset's name contains its hash, so a cached one is current. */
async function asset(request) {
  const cache = await caches.open(CACHE);
  const stored = await cache.match(request);
  if (stored) return stored;
  const fresh = await fetch(request);
  if (isFromServer(fresh, extensionOf(new URL(request.url).pathname))) {
    await cache.put(request, fresh.clone());
  }
  return fresh;
}

async function activate() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name)));
  await self.clients.claim();
}

self.addEventListener('install', (event) => event.waitUntil(cachePage()));
self.addEventListener('activate', (event) => event.waitUntil(activate()));

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
    event.waitUntil(cachePage().catch(() => undefined));
    return page;
  }
  const stored = await (await caches.open(CACHE)).match('/');
  if (stored) return stored;
  if (page) return page;
  throw failure;
}
