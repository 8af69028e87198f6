import { Problem } from '../lib/http/problem';

type Asked<T> = { value: T; phase: 'sending' | 'confirmed' | 'failed'; message: string };

/**
 * A change of something that holds for the incident. What holds is in the log alone; this is only
 * the wish, from the tap until the log shows it.
 */
export class Setting<T> {
  asked = $state.raw<Asked<T>>();
  readonly sending = $derived(this.asked?.phase === 'sending');

  constructor(
    private readonly send: (incident: string, value: T) => Promise<unknown>,
    private readonly signedOut: () => void,
  ) {}

  async ask(incident: string, value: T): Promise<void> {
    if (this.sending) return;
    this.asked = { value, phase: 'sending', message: '' };
    try {
      await this.send(incident, value);
      const message = 'The server has done it; this page has not yet seen it in the log.';
      this.asked = { value, phase: 'confirmed', message };
    } catch (error) {
      const message =
        error instanceof Problem
          ? error.message
          : 'No answer from the server: it is not known whether this took effect. Try again.';
      this.asked = { value, phase: 'failed', message };
      if (error instanceof Problem && error.status === 401) this.signedOut();
    }
  }

  /** The log says that `current` holds. */
  settle(current: T): void {
    if (this.asked && !this.sending && this.asked.value === current) this.asked = undefined;
  }

  dismiss(): void {
    this.asked = undefined;
  }
}
