import type { Token } from 'marked';

type Parse = (text: string) => Token[];

/*
 * The parser is a third of the page's code and of no use before the agent has spoken, so it comes
 * when it is first wanted. Until then, and if it can't be fetched, text is shown as it was typed.
 */
let parse = $state.raw<Parse>();
let wanted: Promise<void> | undefined;

/** The parser, once it is there. Reading this in a component makes it look again. */
export const markdownParser = (): Parse | undefined => parse;

/** Fetches the parser; once it is there or on its way, this does nothing. */
export function wantMarkdown(): void {
  wanted ??= import('./parse').then(
    (module) => {
      parse = module.parseMarkdown;
    },
    () => {
      wanted = undefined;
    },
  );
}
