// Checks that the committed dist/ matches the sources: builds into a temporary folder and compares
// every file byte by byte.
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const root = fileURLToPath(new URL('..', import.meta.url));

async function files(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

async function differences(committed, rebuilt) {
  const [left, right] = await Promise.all([files(committed), files(rebuilt)]);
  const found = [
    ...left.filter((name) => !right.includes(name)).map((name) => `${name}: only in dist`),
    ...right.filter((name) => !left.includes(name)).map((name) => `${name}: missing from dist`),
  ];
  for (const name of left.filter((name) => right.includes(name))) {
    const [a, b] = await Promise.all([
      readFile(join(committed, name)),
      readFile(join(rebuilt, name)),
    ]);
    if (!a.equals(b)) found.push(`${name}: differs`);
  }
  return found;
}

const rebuilt = await mkdtemp(join(tmpdir(), 'breakglass-web-'));
try {
  await build({ root, logLevel: 'error', build: { outDir: rebuilt, emptyOutDir: true } });
  const found = await differences(join(root, 'dist'), rebuilt);
  for (const line of found) console.error(line);
  if (found.length > 0) {
    console.error(
      'web/dist was not built from these sources. Run `npm run build` and commit the result.',
    );
    process.exitCode = 1;
  }
} finally {
  await rm(rebuilt, { recursive: true });
}
