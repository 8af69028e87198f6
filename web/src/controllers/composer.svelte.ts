import { api, type PromptOptions } from '../lib/http/client';
import { Problem } from '../lib/http/problem';
import type { Timeline } from '../lib/timeline/items';
import { load, save } from './storage';

/** A prompt that got no answer from the server. `after` is the last event seen when it was sent. */
type UnconfirmedPrompt = { text: string; incident: string; after: number };

/** The draft of the next prompt, and whether the last one reached the server. */
export class Composer {
  draft = $state(load('draft') ?? '');
  model = $state(load('model') ?? '');
  /** The agent chosen for the next prompt. Empty: the agent of the last turn. */
  agent = $state('');
  sending = $state(false);
  message = $state('');
  unconfirmed = $state.raw<UnconfirmedPrompt>();

  setDraft(text: string): void {
    this.draft = text;
    save('draft', text);
  }

  chooseModel(model: string): void {
    this.model = model;
    save('model', model);
  }

  /** Sends `text`, or else the draft. The draft is cleared once the server has accepted it. */
  async send(
    incident: string,
    after: number,
    options: PromptOptions,
    text?: string,
  ): Promise<void> {
    const prompt = (text ?? this.draft).trim();
    if (prompt === '' || this.sending) return;
    this.sending = true;
    this.dismiss();
    try {
      await api.prompt(incident, prompt, options);
      this.agent = '';
      this.#sent(prompt);
    } catch (error) {
      if (error instanceof Problem) this.message = error.message;
      else this.unconfirmed = { text: prompt, incident, after };
    } finally {
      this.sending = false;
    }
  }

  /** Clears the unconfirmed prompt once it appears in the log. */
  confirm(timeline: Timeline): void {
    const prompt = this.unconfirmed;
    if (!prompt) return;
    const arrived = timeline.items.some(
      (item) =>
        item.type === 'prompt' && item.text === prompt.text && seqOf(item.id) > prompt.after,
    );
    if (arrived) this.#sent(prompt.text);
  }

  dismiss(): void {
    this.unconfirmed = undefined;
    this.message = '';
  }

  #sent(prompt: string): void {
    this.dismiss();
    if (this.draft.trim() === prompt) this.setDraft('');
  }
}

const seqOf = (id: string) => Number(id.slice(1));
