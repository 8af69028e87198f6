import { Lexer, type Token } from 'marked';

/**
 * Markdown as a tree of tokens. It is shown by components that make elements and text nodes of
 * it, so there is no HTML to sanitize: what looks like HTML in the text stays text.
 */
export function parseMarkdown(text: string): Token[] {
  try {
    return Lexer.lex(text, { gfm: true, breaks: true });
  } catch {
    return [{ type: 'paragraph', raw: text, text, tokens: [{ type: 'text', raw: text, text }] }];
  }
}
