/**
 * Small things kept over reloads. Storage may be forbidden (private windows) or full: then
 * nothing is kept, and nothing breaks.
 */
export function load(key: string): string | undefined {
  try {
    return localStorage.getItem(`breakglass.${key}`) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Keeps a value; undefined or empty forgets it. */
export function save(key: string, value: string | undefined): void {
  try {
    if (value) localStorage.setItem(`breakglass.${key}`, value);
    else localStorage.removeItem(`breakglass.${key}`);
  } catch {
    // Not kept; see above.
  }
}
