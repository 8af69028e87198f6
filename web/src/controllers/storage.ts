/**
 * Loads a small value that survives reloads. Storage may be forbidden (private windows) or full:
 * then nothing is saved, and the page still works.
 */
export function load(key: string): string | undefined {
  try {
    return localStorage.getItem(`breakglass.${key}`) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Saves a value. Undefined or an empty string removes it. */
export function save(key: string, value: string | undefined): void {
  try {
    if (value) localStorage.setItem(`breakglass.${key}`, value);
    else localStorage.removeItem(`breakglass.${key}`);
  } catch {
    // Not saved: see `load`.
  }
}
