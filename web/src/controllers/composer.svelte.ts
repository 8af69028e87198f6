import { api } from '../lib/http/client';
import { newKey } from '../lib/http/key';
import { Problem } from '../lib/http/problem';
import type { Timeline } from '../lib/timeline/items';
import { load, save } from './storage';

/** A prompt whose answer from the server got lost. */
type Unconfirmed = { text: string; key: string; incident: string; after: number };

/** What the operator is about to ask, and whether it got through. */
export class Composer {
  draft = $state(load('draft') ?? '');
  model = $state(load('model') ?? '');
  sending = $state(false);
  message = $state('');
  #unconfirmed: Unconfirmed | undefined;

  write(text: string): void {
    this.draft = text;
    save('draft', text);
  }

  choose(model: string): void {
    this.model = model;
    save('model', model);
  }

  /** Sends the draft, or `text` instead of it. The draft goes only when the server has it. */
  async send(incident: string, timeline: Timeline, model: string, text?: string): Promise<void> {
    const words = (text ?? this.draft).trim();
    if (words === '' || this.sending) return;
    this.sending = true;
    this.message = '';
    const again = this.#unconfirmed?.text === words && this.#unconfirmed.incident === incident;
    const key = again && this.#unconfirmed ? this.#unconfirmed.key : newKey();
    try {
      await api.prompt(incident, words, model, key);
      this.#sent(words);
    } catch (error) {
      this.#failed(error, { text: words, key, incident, after: timeline.seq });
    } finally {
      this.sending = false;
    }
  }

  /** The log tells what the lost answer would have told. */
  settle(timeline: Timeline): void {
    const lost = this.#unconfirmed;
    if (!lost) return;
    const arrived = timeline.items.some(
      (item) => item.type === 'prompt' && item.text === lost.text && seqOf(item.id) > lost.after,
    );
    if (arrived) this.#sent(lost.text);
  }

  #sent(words: string): void {
    this.#unconfirmed = undefined;
    this.message = '';
    if (this.draft.trim() === words) this.write('');
  }

  #failed(error: unknown, prompt: Unconfirmed): void {
    if (error instanceof Problem) {
      this.message = error.message;
      return;
    }
    this.#unconfirmed = prompt;
    if (this.draft.trim() === '') this.write(prompt.text);
    this.message =
      'Not confirmed: no answer from the server. If it arrived, it shows up above by itself; ' +
      'otherwise send it again.';
  }
}

const seqOf = (id: string) => Number(id.slice(1));
