import { Lexer, type Token } from 'marked';

/**
 * Parses Markdown to a tree of tokens. The components turn it into elements and text nodes, so
 * there is no HTML to sanitise: HTML in the text stays text.
 */
export function parseMarkdown(text: string): Token[] {
  try {
    return Lexer.lex(text, { gfm: true, breaks: true });
  } catch {
    return [{ type: 'paragraph', raw: text, text, tokens: [{ type: 'text', raw: text, text }] }];
  }
}
