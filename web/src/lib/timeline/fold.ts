/** A long list without its middle. `hidden` is the number of items left out. */
export type Folded<T> = { head: readonly T[]; hidden: number; tail: readonly T[] };

/** Keeps the first `head` and the last `tail` lines. Hides nothing if it would hide fewer than 3. */
export function fold<T>(lines: readonly T[], head = 3, tail = 3): Folded<T> {
  const hidden = lines.length - head - tail;
  if (hidden < 3) return { head: lines, hidden: 0, tail: [] };
  return { head: lines.slice(0, head), hidden, tail: lines.slice(lines.length - tail) };
}
