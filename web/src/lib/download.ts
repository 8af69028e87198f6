/** Has the browser save `text` as a file. */
export function download(name: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type: 'text/markdown' }));
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  // The browser reads it after the click; how long that takes is not told.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
