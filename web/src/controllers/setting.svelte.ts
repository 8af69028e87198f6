import { isSignedOut, messageOf } from '../lib/http/problem';

type SettingRequest<T> = { value: T; phase: 'sending' | 'confirmed' | 'failed'; message: string };

/**
 * A request to change a setting of an incident, from the tap until the log shows the new value.
 * The current value is kept only in the log.
 */
export class Setting<T> {
  request = $state.raw<SettingRequest<T>>();
  readonly sending = $derived(this.request?.phase === 'sending');

  constructor(
    private readonly send: (incident: string, value: T) => Promise<unknown>,
    private readonly onSignedOut: () => void,
  ) {}

  async change(incident: string, value: T): Promise<void> {
    if (this.sending) return;
    this.request = { value, phase: 'sending', message: '' };
    try {
      await this.send(incident, value);
      const message =
        'The server has changed it. This page has not yet seen the change in the log.';
      this.request = { value, phase: 'confirmed', message };
    } catch (error) {
      const unknown =
        'No answer from the server: it is not known whether this took effect. Try again.';
      this.request = { value, phase: 'failed', message: messageOf(error, unknown) };
      if (isSignedOut(error)) this.onSignedOut();
    }
  }

  /** Clears the request if the log shows its value. */
  confirm(current: T): void {
    if (this.request && !this.sending && this.request.value === current) this.request = undefined;
  }

  dismiss(): void {
    this.request = undefined;
  }
}
