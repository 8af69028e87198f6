/** One message of an event stream. `id` is set only if this message carried it. */
export type SseMessage = { id?: string; event: string; data: string };

/**
 * Splits a `text/event-stream` into messages. A chunk may end anywhere, even inside a line break.
 * Comments are skipped; the caller counts them as received bytes.
 */
export class SseParser {
  #rest = '';
  #id: string | undefined;
  #event = '';
  #data: string[] = [];

  /** Parses the next chunk and returns the messages that it completes. */
  push(chunk: string): SseMessage[] {
    const messages: SseMessage[] = [];
    const text = this.#rest + chunk;
    let start = 0;
    for (;;) {
      const end = text.indexOf('\n', start);
      if (end === -1) break;
      const line = text.slice(start, text[end - 1] === '\r' && end > start ? end - 1 : end);
      start = end + 1;
      const message = this.#line(line);
      if (message) messages.push(message);
    }
    this.#rest = text.slice(start);
    return messages;
  }

  #line(line: string): SseMessage | undefined {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    if (colon === 0) return undefined;
    const field = colon === -1 ? line : line.slice(0, colon);
    const raw = colon === -1 ? '' : line.slice(colon + 1);
    const value = raw.startsWith(' ') ? raw.slice(1) : raw;
    if (field === 'data') this.#data.push(value);
    else if (field === 'event') this.#event = value;
    else if (field === 'id') this.#id = value;
    return undefined;
  }

  #dispatch(): SseMessage | undefined {
    const complete =
      this.#data.length === 0
        ? undefined
        : { id: this.#id, event: this.#event || 'message', data: this.#data.join('\n') };
    this.#id = undefined;
    this.#event = '';
    this.#data = [];
    return complete;
  }
}
