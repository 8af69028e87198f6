/*
 * Builds the timeline from an incident's events and frames. Pure: the same log gives the same
 * timeline, in batches of any size. Commands and approval requests are in files of their own.
 */
import type { Autonomy } from '../api/Autonomy';
import type { EventBody } from '../api/EventBody';
import type { Frame } from '../api/Frame';
import type { JsonValue } from '../api/serde_json/JsonValue';
import type { Arrival } from '../live/decode';
import { nameOfCheck, STATE_TEXT } from '../readiness';
import { applyApproval, voidApprovals } from './approvals';
import { abandonCommands, applyCommand } from './commands';
import {
  add,
  addOpen,
  close,
  draftOf,
  finishDraft,
  openKeys,
  update,
  writable,
  type BodyOf,
  type Draft,
  type Origin,
} from './draft';
import type { Timeline } from './items';

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
  return finishDraft(draft);
}

function applyFrame(draft: Draft, frame: Frame): void {
  switch (frame.frame) {
    case 'text_delta': {
      const typed = draft.typing?.turn === frame.turn ? draft.typing.text : '';
      draft.typing = { turn: frame.turn, text: typed + frame.text };
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
      endTurn(draft, from);
      abandonCommands(draft);
      return note(draft, from, 'info', body.kind, 'Incident closed.');
    case 'notice':
      return note(draft, from, body.level, body.code, body.message);
    case 'host_key_changed':
      return note(draft, from, 'error', body.kind, hostKeyChanged(body));
    case 'readiness_changed':
      return note(draft, from, SEVERITY[body.now], body.kind, readinessChanged(body));
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
      return add(draft, { ...from, ...body, type: 'diagnosis' });
    case 'finding':
      return add(draft, { ...from, ...body, type: 'finding' });
    case 'approval_requested':
    case 'approval_decided':
      return applyApproval(draft, from, body);
    case 'autonomy_changed':
      draft.autonomy = body.autonomy;
      return note(draft, from, 'info', body.kind, AUTONOMY_NOTES[body.autonomy]);
    case 'cut_off_changed':
      draft.cutOff = body.cut_off;
      return note(
        draft,
        from,
        body.cut_off ? 'warning' : 'info',
        body.kind,
        cutOffNote(body.cut_off),
      );
  }
}

const SEVERITY = { green: 'info', amber: 'warning', red: 'error' } as const;

function readinessChanged(body: BodyOf<'readiness_changed'>): string {
  const text = `Readiness: ${nameOfCheck(body.check)} ${STATE_TEXT[body.now]}. ${body.evidence}`;
  return body.remedy === undefined ? text : `${text} Remedy: ${body.remedy}`;
}

const AUTONOMY_NOTES: Record<Autonomy, string> = {
  autonomous: 'From now on, the agent acts without asking.',
  'approve-mutations': 'From now on, the agent asks before it changes anything.',
  'read-only': 'From now on, the agent may only read.',
};

const cutOffNote = (isCutOff: boolean) =>
  isCutOff
    ? 'The agent is cut off: its commands reach neither the guest nor the host. Power and checks work.'
    : 'The cut-off is lifted: the agent reaches the guest and the host again.';

function note(
  draft: Draft,
  from: Origin,
  level: 'info' | 'warning' | 'error',
  code: string,
  text: string,
): void {
  add(draft, { ...from, type: 'note', level, code, text });
}

function hostKeyChanged(body: BodyOf<'host_key_changed'>): string {
  return (
    `${body.host} presented a host key that differs from the pinned one, so nothing was sent to ` +
    `it. Pinned: ${body.pinned}. Presented: ${body.shown}.`
  );
}

function applyTurn(
  draft: Draft,
  from: Origin,
  body: BodyOf<'prompt' | 'turn_started' | 'text' | 'turn_ended'>,
): void {
  const { turn } = body;
  switch (body.kind) {
    case 'prompt':
      draft.turn = { turn, since: from.at, started: false };
      return add(draft, { ...from, type: 'prompt', turn, text: body.text });
    case 'turn_started':
      draft.turn = { turn, since: draft.turn?.since ?? from.at, started: true };
      draft.agent = body.agent;
      return;
    case 'text':
      draft.typing = undefined;
      return add(draft, { ...from, type: 'text', turn, text: body.text });
    case 'turn_ended':
      endTurn(draft, from);
      if (body.outcome === 'interrupted') abandonCommands(draft);
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

/** Ends the turn. Its open tool calls are abandoned, and its open approval requests void. */
function endTurn(draft: Draft, from: Origin): void {
  draft.turn = undefined;
  draft.typing = undefined;
  for (const key of openKeys(draft, 'tool')) {
    close(draft, key, 'tool', (item) => ({ ...item, abandoned: true }));
  }
  for (const key of openKeys(draft, 'call')) draft.open.delete(key);
  voidApprovals(draft, from);
}

function applyTool(
  draft: Draft,
  from: Origin,
  body: BodyOf<'tool_started' | 'tool_finished'>,
): void {
  const key = `tool:${body.tool_call}`;
  if (body.kind === 'tool_started') {
    draft.typing = undefined;
    // Open until the turn ends, because a part may start or end after its tool call.
    draft.open.set(`call:${body.tool_call}`, draft.items.length);
    return addOpen(draft, key, {
      ...from,
      type: 'tool',
      turn: body.turn,
      tool: body.tool,
      command: commandOf(body.input) ?? body.summary,
      failed: false,
      output: '',
      omittedBytes: 0,
      abandoned: false,
      parts: [],
    });
  }
  close(draft, key, 'tool', (item) => ({
    ...item,
    endedAt: from.at,
    failed: body.is_error,
    output: body.output,
    omittedBytes: body.omitted_bytes,
  }));
}

/** The whole command, if the tool's input has one. The summary may be shortened. */
function commandOf(input: JsonValue): string | undefined {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) return undefined;
  return typeof input.command === 'string' ? input.command : undefined;
}

function applyVerb(
  draft: Draft,
  from: Origin,
  body: BodyOf<'verb_started' | 'verb_output' | 'verb_finished'>,
): void {
  const { operation } = body;
  const key = `verb:${operation}`;
  const empty = { ...from, type: 'verb' as const, operation, lines: [] };
  switch (body.kind) {
    case 'verb_started':
      return addOpen(draft, key, { ...empty, target: body.target, verb: body.verb });
    case 'verb_output':
      update(draft, key, 'verb', (item) => {
        const lines = writable(draft, item.lines);
        lines.push({ stream: body.stream, text: body.line });
        return { ...item, lines };
      });
      return;
    case 'verb_finished': {
      const ended = {
        outcome: body.outcome,
        verdict: body.verdict,
        message: body.message,
        durationMs: body.duration_ms,
        omittedLines: body.omitted_lines,
        screenshot: body.picture ?? false,
      };
      if (close(draft, key, 'verb', (item) => ({ ...item, ended }))) return;
      return add(draft, { ...empty, target: body.target, verb: body.verb, ended });
    }
  }
}
