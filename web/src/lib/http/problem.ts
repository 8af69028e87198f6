import { readJson } from '../visible';

/** The server understood and said no (RFC 9457). The message is a sentence for the operator. */
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

  /** A field of the problem beyond title and detail, if it is a string. */
  field(name: string): string | undefined {
    const value = this.fields[name];
    return typeof value === 'string' ? value : undefined;
  }
}

/** No answer came: whether the server acted on the request is not known. */
export class Unconfirmed extends Error {
  constructor(cause: unknown) {
    super('No answer from the server.', { cause });
    this.name = 'Unconfirmed';
  }
}

/** Reads a failed response; anything that is not a problem document becomes one. */
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
