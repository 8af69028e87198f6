import type { Actor } from '../api/Actor';
import type { EventBody } from '../api/EventBody';
import type { Frame } from '../api/Frame';
import type { JsonValue } from '../api/serde_json/JsonValue';
import type { Arrival } from '../live/decode';
import { add, begin, draftOf, finish, update, type Draft } from './draft';
import type { Timeline } from './items';

/** Where an event comes from: a stored event, or a frame that says what could not be stored. */
type Origin = { id: string; at: string; actor: Actor; recorded: boolean };
type Of<K extends EventBody['kind']> = Extract<EventBody, { kind: K }>;

/** The timeline after a batch of arrivals. Pure: the same log gives the same timeline. */
export function reduce(timeline: Timeline, batch: readonly Arrival[]): Timeline {
  const draft = draftOf(timeline);
  for (const arrival of batch) {
    if (arrival.type === 'event') {
      const { seq, at, actor } = arrival.event;
      apply(draft, { id: `e${seq}`, at, actor, recorded: true }, arrival.event);
      draft.seq = seq;
    } else if (arrival.type === 'frame') {
      applyFrame(draft, arrival.frame);
    }
  }
  return draft;
}

function applyFrame(draft: Draft, frame: Frame): void {
  switch (frame.frame) {
    case 'text_delta': {
      const held = draft.typing?.turn === frame.turn ? draft.typing.text : '';
      draft.typing = { turn: frame.turn, text: held + frame.text };
      break;
    }
    case 'text_snapshot':
      draft.typing = frame.text === '' ? undefined : { turn: frame.turn, text: frame.text };
      break;
    case 'unrecorded': {
      draft.unrecorded += 1;
      const origin = { id: `u${draft.unrecorded}`, at: frame.at, actor: frame.actor };
      apply(draft, { ...origin, recorded: false }, frame.body);
      break;
    }
    case 'vitals':
      break;
  }
}

function apply(draft: Draft, from: Origin, body: EventBody): void {
  switch (body.kind) {
    case 'incident_opened':
      draft.target = body.target;
      draft.drill = body.drill;
      return note(draft, from, 'info', body.kind, `Incident opened for ${body.target}.`);
    case 'incident_closed':
      draft.closedAt = from.at;
      endTurn(draft);
      return note(draft, from, 'info', body.kind, 'Incident closed.');
    case 'notice':
      return note(draft, from, body.level, body.code, body.message);
    case 'host_key_changed':
      return note(draft, from, 'error', body.kind, hostKeyChanged(body));
    case 'prompt':
    case 'turn_started':
    case 'text':
    case 'turn_ended':
      return applyTurn(draft, from, body);
    case 'tool_started':
    case 'tool_finished':
      return applyTool(draft, from, body);
    case 'command_started':
    case 'command_output':
    case 'command_finished':
      return applyCommand(draft, from, body);
    case 'verb_started':
    case 'verb_output':
    case 'verb_finished':
      return applyVerb(draft, from, body);
    case 'check_finished':
      return add(draft, { ...from, ...body, type: 'check' });
    case 'finding':
      return add(draft, { ...from, ...body, type: 'finding' });
    case 'approval_requested':
    case 'approval_decided':
      return applyApproval(draft, from, body);
  }
}

function note(
  draft: Draft,
  from: Origin,
  level: 'info' | 'warning' | 'error',
  code: string,
  text: string,
): void {
  add(draft, { ...from, type: 'note', level, code, text });
}

function hostKeyChanged(body: Of<'host_key_changed'>): string {
  return (
    `${body.host} showed another host key than the pinned one, so nothing was sent to it. ` +
    `Pinned: ${body.pinned}. Shown: ${body.shown}.`
  );
}

function applyTurn(
  draft: Draft,
  from: Origin,
  body: Of<'prompt' | 'turn_started' | 'text' | 'turn_ended'>,
): void {
  const { turn } = body;
  switch (body.kind) {
    case 'prompt':
      draft.turn = { turn, since: from.at, started: false };
      return add(draft, { ...from, type: 'prompt', turn, text: body.text });
    case 'turn_started':
      draft.turn = { turn, since: draft.turn?.since ?? from.at, started: true };
      return;
    case 'text':
      draft.typing = undefined;
      return add(draft, { ...from, type: 'text', turn, text: body.text });
    case 'turn_ended':
      endTurn(draft);
      return add(draft, {
        ...from,
        type: 'turn-end',
        turn,
        outcome: body.outcome,
        reason: body.reason,
        durationMs: body.duration_ms,
        costUsd: body.cost_usd,
      });
  }
}

/** What a turn leaves open when it ends does not go on. */
function endTurn(draft: Draft): void {
  draft.turn = undefined;
  draft.typing = undefined;
  for (const key of [...draft.open.keys()].filter((key) => key.startsWith('tool:'))) {
    finish(draft, key, 'tool', (item) => ({ ...item, abandoned: true }));
  }
}

function applyTool(draft: Draft, from: Origin, body: Of<'tool_started' | 'tool_finished'>): void {
  const key = `tool:${body.tool_call}`;
  if (body.kind === 'tool_started') {
    draft.typing = undefined;
    return begin(draft, key, {
      ...from,
      type: 'tool',
      turn: body.turn,
      tool: body.tool,
      command: commandOf(body.input) ?? body.summary,
      failed: false,
      output: '',
      omittedBytes: 0,
      abandoned: false,
    });
  }
  finish(draft, key, 'tool', (item) => ({
    ...item,
    endedAt: from.at,
    failed: body.is_error,
    output: body.output,
    omittedBytes: body.omitted_bytes,
  }));
}

/** The whole command, where the tool's input has one; the summary may be shortened. */
function commandOf(input: JsonValue): string | undefined {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) return undefined;
  return typeof input.command === 'string' ? input.command : undefined;
}

function applyCommand(
  draft: Draft,
  from: Origin,
  body: Of<'command_started' | 'command_output' | 'command_finished'>,
): void {
  const key = `command:${body.command}`;
  switch (body.kind) {
    case 'command_started':
      return begin(draft, key, {
        ...from,
        type: 'command',
        host: body.host,
        command: body.text,
        lines: [],
      });
    case 'command_output':
      update(draft, key, 'command', (item) => ({
        ...item,
        lines: [...item.lines, { stream: body.stream, text: body.text }],
      }));
      return;
    case 'command_finished':
      finish(draft, key, 'command', (item) => ({
        ...item,
        ended: {
          exitCode: body.exit_code,
          signal: body.signal,
          durationMs: body.duration_ms,
          omittedBytes: body.omitted_bytes,
        },
      }));
  }
}

function applyVerb(
  draft: Draft,
  from: Origin,
  body: Of<'verb_started' | 'verb_output' | 'verb_finished'>,
): void {
  const { operation } = body;
  const key = `verb:${operation}`;
  const empty = { ...from, type: 'verb' as const, operation, lines: [] };
  switch (body.kind) {
    case 'verb_started':
      return begin(draft, key, { ...empty, target: body.target, verb: body.verb });
    case 'verb_output':
      update(draft, key, 'verb', (item) => ({
        ...item,
        lines: [...item.lines, { stream: body.stream, text: body.line }],
      }));
      return;
    case 'verb_finished': {
      const ended = {
        outcome: body.outcome,
        verdict: body.verdict,
        message: body.message,
        durationMs: body.duration_ms,
        omittedLines: body.omitted_lines,
      };
      if (finish(draft, key, 'verb', (item) => ({ ...item, ended }))) return;
      return add(draft, { ...empty, target: body.target, verb: body.verb, ended });
    }
  }
}

function applyApproval(
  draft: Draft,
  from: Origin,
  body: Of<'approval_requested' | 'approval_decided'>,
): void {
  const key = `approval:${body.approval}`;
  if (body.kind === 'approval_requested') {
    const { approval, tool, command } = body;
    return begin(draft, key, { ...from, type: 'approval', approval, tool, command });
  }
  const { decision, note } = body;
  finish(draft, key, 'approval', (item) => ({
    ...item,
    decided: { decision, note, actor: from.actor },
  }));
}
