import { expect, test } from 'vitest';
import { safeHref } from './href';
import { parseMarkdown } from './parse';

test('only URLs with a safe scheme become links', () => {
  expect(safeHref('https://example.org/a')).toBe('https://example.org/a');
  for (const href of [
    'javascript:alert(1)',
    ' JavaScript:alert(1)',
    'data:text/html,x',
    '//x',
    '/api',
  ]) {
    expect(safeHref(href), href).toBeUndefined();
  }
});

test('any text can be parsed, even half of a block', () => {
  const text =
    '# a\n\n- b\n  - c\n\n```sh\nls -l\n```\n\n| d | e |\n|---|---|\n| <img src=x> | `f` |\n';
  for (let end = 0; end <= text.length; end += 1) {
    const raw = parseMarkdown(text.slice(0, end)).map((token) => token.raw);
    expect(raw.join('').trim()).toBe(text.slice(0, end).trim());
  }
});
