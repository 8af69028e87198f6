import type { CommandStream } from '../api/CommandStream';
import { writable, type Draft, type Of, type Origin } from './draft';
import type { CommandItem, Line } from './items';
import { beginPart, updatePart, updateParts } from './parts';

export function applyCommand(
  draft: Draft,
  from: Origin,
  body: Of<'command_started' | 'command_output' | 'command_finished'>,
): void {
  const key = `command:${body.command}`;
  switch (body.kind) {
    case 'command_started':
      return beginPart(draft, body.tool_call, started(from, body));
    case 'command_output':
      return updatePart(draft, key, 'command', (command) => printed(draft, command, body));
    case 'command_finished':
      updatePart(draft, key, 'command', (command) => ended(command, body));
      draft.open.delete(key);
  }
}

/** The commands that run leave the log with no word about their end, unless one comes yet. */
export function abandonCommands(draft: Draft): void {
  updateParts(draft, 'command', (command) => ({ ...command, abandoned: true }));
}

function started(from: Origin, body: Of<'command_started'>): CommandItem {
  const { command, host, mode, text } = body;
  const empty = { lines: [], partial: false, abandoned: false };
  return { ...from, type: 'command', command, host, mode, text, ...empty };
}

function printed(draft: Draft, command: CommandItem, body: Of<'command_output'>): CommandItem {
  if (body.text === '') return command;
  const lines = writable(draft, command.lines);
  extend(lines, command.partial, body.stream, body.text);
  return { ...command, lines, partial: !body.text.endsWith('\n') };
}

/** Adds text, which begins and ends anywhere in a line; another stream's begins a line. */
function extend(lines: Line[], partial: boolean, stream: CommandStream, text: string): void {
  const [first = '', ...rest] = text.replace(/\n$/, '').split('\n').map(withoutReturn);
  const last = lines.at(-1);
  if (partial && last?.stream === stream) {
    lines[lines.length - 1] = { stream, text: withoutReturn(last.text + first) };
  } else {
    lines.push({ stream, text: first });
  }
  for (const line of rest) lines.push({ stream, text: line });
}

/** A terminal ends its lines with a carriage return, which the log makes visible. */
const withoutReturn = (line: string) => (line.endsWith('␍') ? line.slice(0, -1) : line);

function ended(command: CommandItem, body: Of<'command_finished'>): CommandItem {
  return {
    ...command,
    abandoned: false,
    ended: {
      exitCode: body.exit_code,
      signal: body.signal,
      durationMs: body.duration_ms,
      omittedBytes: body.omitted_bytes,
      message: body.message,
    },
  };
}
