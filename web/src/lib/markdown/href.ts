/** The address, if a click on it is harmless: never `javascript:` or `data:`. */
export function safeHref(href: string): string | undefined {
  return /^(https?:\/\/|mailto:)/i.test(href.trim()) ? href.trim() : undefined;
}
