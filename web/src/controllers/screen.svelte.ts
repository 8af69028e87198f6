import { isSignedOut, messageOf } from '../lib/http/problem';

/** One target's latest screenshot. */
type Shot = {
  target: string;
  loading: boolean;
  /** The image as a `data:` URL for an `<img>`. */
  src?: string;
  /** When it arrived, in ms since the epoch. */
  at?: number;
  /** Why the last request failed. */
  message: string;
};

/** Screenshots of the guest on request. The last one stays until a newer one arrives. */
export class Screen {
  #shot = $state.raw<Shot>();

  constructor(
    private readonly fetch: (target: string) => Promise<string>,
    private readonly onSignedOut: () => void,
  ) {}

  /** This target's screenshot; undefined until one was requested. */
  of(target: string): Shot | undefined {
    return this.#shot?.target === target ? this.#shot : undefined;
  }

  async capture(target: string): Promise<void> {
    const before = this.of(target) ?? { target, message: '' };
    if (this.of(target)?.loading) return;
    const request = { ...before, loading: true, message: '' };
    this.#shot = request;
    let shot: Shot;
    try {
      const src = await this.fetch(target);
      shot = { target, loading: false, src, at: Date.now(), message: '' };
    } catch (error) {
      shot = { ...before, loading: false, message: screenshotError(error) };
      if (isSignedOut(error)) this.onSignedOut();
    }
    // Drop the result if another target was requested in the meantime.
    if (this.#shot === request) this.#shot = shot;
  }
}

/** Why there is no screenshot, as a sentence for the operator. */
export const screenshotError = (error: unknown) =>
  messageOf(error, 'The server sent no screenshot. Try again.');
