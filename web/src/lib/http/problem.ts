import { readJson } from '../hidden-characters';

/** The server's refusal of a request (RFC 9457). The message is a sentence for the operator. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    detail: string,
    readonly fields: Readonly<Record<string, unknown>>,
  ) {
    super(detail);
    this.name = 'Problem';
  }

  /** A field of the problem document, if it is a string. */
  field(name: string): string | undefined {
    const value = this.fields[name];
    return typeof value === 'string' ? value : undefined;
  }
}

/** No answer came: the server may or may not have acted on the request. */
export class Unconfirmed extends Error {
  constructor(cause: unknown) {
    super('No answer from the server.', { cause });
    this.name = 'Unconfirmed';
  }
}

/** The sentence to show for a failed request: the server's own, else `fallback`. */
export const messageOf = (error: unknown, fallback = 'No answer from the server. Try again.') =>
  error instanceof Problem ? error.message : fallback;

/** Whether the server rejected the session. */
export const isSignedOut = (error: unknown) => error instanceof Problem && error.status === 401;

/** Reads a failed response. A body that is not a problem document becomes a generic problem. */
export async function problemOf(response: Response): Promise<Problem> {
  const fallback = `The server answered ${response.status}.`;
  let body: unknown;
  try {
    body = readJson(await response.text());
  } catch {
    body = undefined;
  }
  const fields = typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {};
  const text = (name: string) => (typeof fields[name] === 'string' ? fields[name] : undefined);
  const title = text('title') ?? fallback;
  return new Problem(response.status, title, text('detail') ?? title, fields);
}
