/** A long output, shortened to where it begins and ends. */
export type Folded<T> = { head: readonly T[]; hidden: number; tail: readonly T[] };

/** Keeps `head` first and `tail` last lines; folds only if that hides at least three lines. */
export function fold<T>(lines: readonly T[], head = 3, tail = 3): Folded<T> {
  const hidden = lines.length - head - tail;
  if (hidden < 3) return { head: lines, hidden: 0, tail: [] };
  return { head: lines.slice(0, head), hidden, tail: lines.slice(lines.length - tail) };
}
