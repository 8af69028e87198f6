/** Makes the browser save `text` as a file. */
export function download(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: 'text/markdown' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  // The browser reads the URL after the click, and does not report when it is done.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
