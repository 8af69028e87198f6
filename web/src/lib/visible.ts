import { HIDDEN } from './api/Hidden';

const range = ([first, last]: readonly [number, number]) =>
  `\\u{${first.toString(16)}}-\\u{${last.toString(16)}}`;

/** ASCII controls but newline and tab, half of a pair, and what the server's table names. */
const UNSEEN = String.raw`[\0-\x08\x0b-\x1f\x7f\ud800-\udfff${HIDDEN.map(range).join('')}]`;

const each = new RegExp(UNSEEN, 'gu');
const any = new RegExp(UNSEEN, 'u');

/**
 * Makes visible what the browser would obey or not show, as the server does: `␛`, `<U+202E>`. What
 * is read here may come from an older record or an operator, and a command is what it looks like.
 */
export function visible(text: string): string {
  return any.test(text) ? text.replace(each, shown) : text;
}

function shown(c: string): string {
  const code = c.codePointAt(0) ?? 0;
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  if (code === 0x7f) return '␡';
  return `<U+${code.toString(16).toUpperCase().padStart(4, '0')}>`;
}

/**
 * Reads JSON that comes from the server, every text in it made visible: this is where all that the
 * page shows comes in. Throws where it is no JSON.
 */
export function readJson(text: string): unknown {
  const plain = !/\\[ubfr]/.test(text) && !any.test(text);
  return plain ? JSON.parse(text) : JSON.parse(text, shownText);
}

const shownText = (_key: string, value: unknown) =>
  typeof value === 'string' ? visible(value) : value;
