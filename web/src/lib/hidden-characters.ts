import { HIDDEN } from './api/Hidden';

const range = ([first, last]: readonly [number, number]) =>
  `\\u{${first.toString(16)}}-\\u{${last.toString(16)}}`;

/** ASCII controls except newline and tab, lone surrogates, and the server's list. */
const HIDDEN_CLASS = String.raw`[\0-\x08\x0b-\x1f\x7f\ud800-\udfff${HIDDEN.map(range).join('')}]`;

const each = new RegExp(HIDDEN_CLASS, 'gu');
const any = new RegExp(HIDDEN_CLASS, 'u');

/**
 * Replaces characters that the browser would obey or not show, as the server does: `␛`,
 * `<U+202E>`. An older log or an operator may have sent them, and an operator who approves a
 * command must see all of it.
 */
export function showHidden(text: string): string {
  return any.test(text) ? text.replace(each, symbolFor) : text;
}

function symbolFor(c: string): string {
  const code = c.codePointAt(0) ?? 0;
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  if (code === 0x7f) return '␡';
  return `<U+${code.toString(16).toUpperCase().padStart(4, '0')}>`;
}

/**
 * Parses JSON from the server, and shows the hidden characters of each string in it. Everything
 * that the page shows is parsed here. Throws if `text` is not JSON.
 */
export function readJson(text: string): unknown {
  const plain = !/\\[ubfr]/.test(text) && !any.test(text);
  return plain ? JSON.parse(text) : JSON.parse(text, showInStrings);
}

const showInStrings = (_key: string, value: unknown) =>
  typeof value === 'string' ? showHidden(value) : value;
