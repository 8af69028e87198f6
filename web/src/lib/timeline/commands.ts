import type { CommandStream } from '../api/CommandStream';
import { writable, type BodyOf, type Draft, type Origin } from './draft';
import type { CommandItem, Line } from './items';
import { addOpenPart, updatePart, updateParts } from './parts';

export function applyCommand(
  draft: Draft,
  from: Origin,
  body: BodyOf<'command_started' | 'command_output' | 'command_finished'>,
): void {
  const key = `command:${body.command}`;
  switch (body.kind) {
    case 'command_started':
      return addOpenPart(draft, body.tool_call, started(from, body));
    case 'command_output':
      return updatePart(draft, key, 'command', (command) => withOutput(draft, command, body));
    case 'command_finished':
      updatePart(draft, key, 'command', (command) => withEnd(command, body));
      draft.open.delete(key);
  }
}

/** Marks the running commands: the log may never record their end. */
export function abandonCommands(draft: Draft): void {
  updateParts(draft, 'command', (command) => ({ ...command, abandoned: true }));
}

function started(from: Origin, body: BodyOf<'command_started'>): CommandItem {
  const { command, host, mode, text } = body;
  const empty = { lines: [], partial: false, abandoned: false };
  return { ...from, type: 'command', command, host, mode, text, ...empty };
}

function withOutput(
  draft: Draft,
  command: CommandItem,
  body: BodyOf<'command_output'>,
): CommandItem {
  if (body.text === '') return command;
  const lines = writable(draft, command.lines);
  appendText(lines, command.partial, body.stream, body.text);
  return { ...command, lines, partial: !body.text.endsWith('\n') };
}

/** Appends text that may start and end inside a line. Text of another stream starts a new line. */
function appendText(lines: Line[], partial: boolean, stream: CommandStream, text: string): void {
  const [first = '', ...rest] = text.replace(/\n$/, '').split('\n').map(withoutReturn);
  const last = lines.at(-1);
  if (partial && last?.stream === stream) {
    lines[lines.length - 1] = { stream, text: withoutReturn(last.text + first) };
  } else {
    lines.push({ stream, text: first });
  }
  for (const line of rest) lines.push({ stream, text: line });
}

/** Removes the carriage return of a terminal, which the log shows as a symbol. */
const withoutReturn = (line: string) => (line.endsWith('␍') ? line.slice(0, -1) : line);

function withEnd(command: CommandItem, body: BodyOf<'command_finished'>): CommandItem {
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
