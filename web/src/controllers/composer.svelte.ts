import { api, type Asked } from '../lib/http/client';
import { Problem } from '../lib/http/problem';
import type { Timeline } from '../lib/timeline/items';
import { load, save } from './storage';

/** A prompt whose answer from the server got lost; `after` is the last event known then. */
type Lost = { text: string; incident: string; after: number };

/** What the operator is about to ask, and whether it got through. */
export class Composer {
  draft = $state(load('draft') ?? '');
  model = $state(load('model') ?? '');
  /** The agent that was chosen for the next prompt; empty for the one that had the last turn. */
  agent = $state('');
  sending = $state(false);
  message = $state('');
  lost = $state.raw<Lost>();

  write(text: string): void {
    this.draft = text;
    save('draft', text);
  }

  choose(model: string): void {
    this.model = model;
    save('model', model);
  }

  /** Sends the draft, or `text` instead of it. A draft goes only when the server has it. */
  async send(incident: string, after: number, asked: Asked, text?: string): Promise<void> {
    const words = (text ?? this.draft).trim();
    if (words === '' || this.sending) return;
    this.sending = true;
    this.dismiss();
    try {
      await api.prompt(incident, words, asked);
      this.agent = '';
      this.#sent(words);
    } catch (error) {
      if (error instanceof Problem) this.message = error.message;
      else this.lost = { text: words, incident, after };
    } finally {
      this.sending = false;
    }
  }

  /** The log tells what the lost answer would have told. */
  settle(timeline: Timeline): void {
    const lost = this.lost;
    if (!lost) return;
    const arrived = timeline.items.some(
      (item) => item.type === 'prompt' && item.text === lost.text && seqOf(item.id) > lost.after,
    );
    if (arrived) this.#sent(lost.text);
  }

  dismiss(): void {
    this.lost = undefined;
    this.message = '';
  }

  #sent(words: string): void {
    this.dismiss();
    if (this.draft.trim() === words) this.write('');
  }
}

const seqOf = (id: string) => Number(id.slice(1));
