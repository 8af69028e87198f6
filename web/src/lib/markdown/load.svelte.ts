import type { Component } from 'svelte';

type Renderer = Component<{ text: string }>;

/*
 * The Markdown renderer is a third of the page's code, and not needed before the agent answers, so
 * it is loaded on demand. Until then, or if that fails, the page shows the plain text.
 */
let rendererComponent = $state.raw<Renderer>();
let loading: Promise<void> | undefined;

/** The renderer, once it is loaded. A component that reads it updates then. */
export const markdownRenderer = (): Renderer | undefined => rendererComponent;

/** Starts loading the renderer. Does nothing if it is loaded or being loaded. */
export function loadMarkdown(): void {
  loading ??= import('./Rendered.svelte').then(
    (module) => {
      rendererComponent = module.default;
    },
    () => {
      loading = undefined;
    },
  );
}
