/** The trimmed URL if it is safe to follow. Undefined for `javascript:`, `data:` and others. */
export function safeHref(href: string): string | undefined {
  return /^(https?:\/\/|mailto:)/i.test(href.trim()) ? href.trim() : undefined;
}
