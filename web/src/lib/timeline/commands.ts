import type { CommandStream } from '../api/CommandStream';
import { add, openKeys, update, writable, type Draft, type Of, type Origin } from './draft';
import type { Command, Item, Line } from './items';

/*
 * A command is shown under the tool call that caused it. `command:ID` in the open map leads to the
 * item that holds it: that tool, or an item of its own.
 */

export function applyCommand(
  draft: Draft,
  from: Origin,
  body: Of<'command_started' | 'command_output' | 'command_finished'>,
): void {
  switch (body.kind) {
    case 'command_started':
      return start(draft, from, body);
    case 'command_output':
      return change(draft, body.command, (command) => printed(draft, command, body));
    case 'command_finished':
      change(draft, body.command, (command) => ended(command, body));
      draft.open.delete(`command:${body.command}`);
  }
}

/** The commands that run leave the log with no word about their end, unless one comes yet. */
export function abandonCommands(draft: Draft): void {
  for (const key of openKeys(draft, 'command')) {
    change(draft, key.slice('command:'.length), (command) => ({ ...command, abandoned: true }));
  }
}

function start(draft: Draft, from: Origin, body: Of<'command_started'>): void {
  const { command: id, host, mode, text } = body;
  const empty = { lines: [], partial: false, abandoned: false };
  const command: Command = { id, at: from.at, host, mode, text, ...empty };
  const key = `command:${id}`;
  // One that is not recorded says so, which its tool can't do for it.
  const call = `call:${body.tool_call}`;
  const at = from.recorded ? draft.open.get(call) : undefined;
  if (at !== undefined) {
    draft.open.set(key, at);
    update(draft, call, 'tool', (tool) => {
      const commands = writable(draft, tool.commands);
      commands.push(command);
      return { ...tool, commands };
    });
  } else {
    draft.open.set(key, draft.items.length);
    add(draft, { ...from, type: 'command', command });
  }
}

/** Replaces the open command `id`, wherever it is shown. */
function change(draft: Draft, id: string, next: (command: Command) => Command): void {
  const at = draft.open.get(`command:${id}`);
  const item = at === undefined ? undefined : draft.items[at];
  if (at !== undefined && item) draft.items[at] = within(draft, item, id, next);
}

function within(draft: Draft, item: Item, id: string, next: (command: Command) => Command): Item {
  if (item.type === 'command') return { ...item, command: next(item.command) };
  if (item.type !== 'tool') return item;
  const at = item.commands.findLastIndex((command) => command.id === id);
  const command = item.commands[at];
  if (!command) return item;
  const commands = writable(draft, item.commands);
  commands[at] = next(command);
  return { ...item, commands };
}

function printed(draft: Draft, command: Command, body: Of<'command_output'>): Command {
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

function ended(command: Command, body: Of<'command_finished'>): Command {
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
