import { expect, test } from 'vitest';
import { HIDDEN } from './api/Hidden';
import { decode } from './live/decode';
import { readJson, showHidden } from './hidden-characters';

const hex = (code: number) => code.toString(16).toUpperCase().padStart(4, '0');

test('every hidden character is replaced by its number', () => {
  for (const [first, last] of HIDDEN) {
    for (const code of new Set([first, last])) {
      const c = String.fromCodePoint(code);
      expect(showHidden(`r${c}m`)).toBe(`r<U+${hex(code)}>m`);
    }
  }
});

test('characters that look like nothing or like a space are hidden characters', () => {
  const hidden =
    '\u200b\u2060\u00ad\ufeff\ufe0f\u180e\u3164\u2800\u2062\ufff9\u00a0\u{e0041}\u202e\u2066\u061c\u034f\u115f\u202f';
  for (const c of hidden) expect(showHidden(c)).toMatch(/^<U\+[0-9A-F]{4,6}>$/);
});

test('control characters and lone surrogates are replaced', () => {
  expect(showHidden('\x1b[2J\r\x7f\u009b')).toBe('␛[2J␍␡<U+009B>');
  expect(showHidden('a\ud800b\udfff')).toBe('a<U+D800>b<U+DFFF>');
});

test('letters, signs, newlines and emoji are not replaced', () => {
  const text = 'a b\n\tß 漢字 ن 한 ‘—…✓⚠🙂 e\u0301 \ufffd';
  expect(showHidden(text)).toBe(text);
  expect(showHidden(showHidden('r\u200bm'))).toBe(showHidden('r\u200bm'));
});

test('hidden characters are replaced in every string from the server', () => {
  const sent = { text: 'r\u200bm', deep: [{ title: '\u202ex' }, 'plain'], seq: 3, none: null };
  const shown = { text: 'r<U+200B>m', deep: [{ title: '<U+202E>x' }, 'plain'], seq: 3, none: null };
  expect(readJson(JSON.stringify(sent))).toEqual(shown);
  expect(readJson(String.raw`{"text":"r\u200bm\ud800"}`)).toEqual({ text: 'r<U+200B>m<U+D800>' });
  expect(() => readJson('no JSON')).toThrow();
});

test('hidden characters are replaced in a command of an event', () => {
  const data = JSON.stringify({ seq: 1, kind: 'approval_requested', command: 'ls\u00a0-l\u200b' });
  expect(decode({ id: '1', event: 'event', data })).toMatchObject({
    event: { command: 'ls<U+00A0>-l<U+200B>' },
  });
});
