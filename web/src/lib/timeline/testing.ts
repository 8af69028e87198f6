/* Events from which tests build logs. */
import type { EventBody } from '../api/EventBody';
import type { Frame } from '../api/Frame';
import type { Arrival } from '../live/decode';
import { emptyTimeline, type Timeline } from './items';
import { reduce } from './reduce';

export const at = (seq: number) => new Date(Date.UTC(2026, 0, 1, 3, 0, seq)).toISOString();

export function events(...bodies: EventBody[]): Arrival[] {
  return bodies.map((body, index) => {
    const seq = index + 1;
    return { type: 'event', event: { seq, at: at(seq), actor: 'system', hash: '', ...body } };
  });
}
export const frame = (value: Frame): Arrival => ({ type: 'frame', frame: value });
export const all = (arrivals: Arrival[]): Timeline => reduce(emptyTimeline, arrivals);

export const prompt: EventBody = { kind: 'prompt', turn: 1, text: 'Help' };
export const tool: EventBody = {
  kind: 'tool_started',
  turn: 1,
  tool_call: 't',
  tool: 'Bash',
  summary: 'ssh…',
  input: { command: 'ssh devvm df -h' },
};
export const toolDone: EventBody = {
  kind: 'tool_finished',
  turn: 1,
  tool_call: 't',
  is_error: false,
  output: 'full',
  omitted_bytes: 0,
};
export const ended: EventBody = { kind: 'turn_ended', turn: 1, outcome: 'done', duration_ms: 5 };
export const command: EventBody = {
  kind: 'command_started',
  command: 'c',
  turn: 1,
  tool_call: 't',
  host: 'devvm',
  mode: 'exec',
  text: 'df -h',
};
type Stream = 'stdin' | 'stdout' | 'stderr';
export const printed = (text: string, stream: Stream = 'stdout'): EventBody => ({
  kind: 'command_output',
  command: 'c',
  stream,
  text,
});
export const commandDone: EventBody = {
  kind: 'command_finished',
  command: 'c',
  exit_code: 0,
  duration_ms: 5,
  omitted_bytes: 0,
};
export const approvalRequest: EventBody = {
  kind: 'approval_requested',
  approval: 'a',
  turn: 1,
  place: 'pve',
  command: 'cycle',
  touches: 'the whole machine.',
};
