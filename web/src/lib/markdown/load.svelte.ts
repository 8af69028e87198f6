import type { Component } from 'svelte';

type Rendered = Component<{ text: string }>;

/*
 * What renders Markdown is a third of the page's code and of no use before the agent has spoken, so
 * it comes when it is first wanted. Until then, and if it can't be fetched, text is shown as it was
 * typed.
 */
let rendered = $state.raw<Rendered>();
let wanted: Promise<void> | undefined;

/** What renders Markdown, once it is there. Reading this in a component makes it look again. */
export const markdown = (): Rendered | undefined => rendered;

/** Fetches it; once it is there or on its way, this does nothing. */
export function wantMarkdown(): void {
  wanted ??= import('./Rendered.svelte').then(
    (module) => {
      rendered = module.default;
    },
    () => {
      wanted = undefined;
    },
  );
}
