import { Problem } from '../lib/http/problem';

/** What is shown of one target's screen. */
type Seen = {
  target: string;
  loading: boolean;
  /** The last picture that came, as an address for an `<img>`. */
  picture?: string;
  /** When it came, in ms since the epoch. */
  at?: number;
  /** Why the last look gave none. */
  message: string;
};

/** The guest's screen, looked at on demand. What came stays until something newer comes. */
export class Screen {
  #seen = $state.raw<Seen>();

  constructor(
    private readonly fetch: (target: string) => Promise<string>,
    private readonly signedOut: () => void,
  ) {}

  /** What there is of this target's screen; undefined until it was first looked at. */
  of(target: string): Seen | undefined {
    return this.#seen?.target === target ? this.#seen : undefined;
  }

  async look(target: string): Promise<void> {
    const before = this.of(target) ?? { target, message: '' };
    if (this.of(target)?.loading) return;
    const looking = { ...before, loading: true, message: '' };
    this.#seen = looking;
    let seen: Seen;
    try {
      const picture = await this.fetch(target);
      seen = { target, loading: false, picture, at: Date.now(), message: '' };
    } catch (error) {
      seen = { ...before, loading: false, message: sentence(error) };
      if (error instanceof Problem && error.status === 401) this.signedOut();
    }
    // Another machine may have been chosen meanwhile.
    if (this.#seen === looking) this.#seen = seen;
  }
}

/** Why there is no picture, for the operator. */
export const sentence = (error: unknown) =>
  error instanceof Problem ? error.message : 'No picture came from the server. Try again.';
