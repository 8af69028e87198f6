import type { Autonomy } from '../api/Autonomy';
import type { EventBody } from '../api/EventBody';
import type { Frame } from '../api/Frame';
import type { JsonValue } from '../api/serde_json/JsonValue';
import type { Arrival } from '../live/decode';
import { nameOfCheck, WORDS } from '../readiness';
import { applyApproval, voidApprovals } from './approvals';
import { abandonCommands, applyCommand } from './commands';
import {
  add,
  begin,
  done,
  draftOf,
  finish,
  openKeys,
  update,
  writable,
  type Draft,
  type Of,
  type Origin,
} from './draft';
import type { Timeline } from './items';

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
  return done(draft);
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
      endTurn(draft, from);
      abandonCommands(draft);
      return note(draft, from, 'info', body.kind, 'Incident closed.');
    case 'notice':
      return note(draft, from, body.level, body.code, body.message);
    case 'host_key_changed':
      return note(draft, from, 'error', body.kind, hostKeyChanged(body));
    case 'readiness_changed':
      return note(draft, from, GRAVITY[body.now], body.kind, readinessChanged(body));
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
    case 'autonomy_changed':
      draft.autonomy = body.autonomy;
      return note(draft, from, 'info', body.kind, MAY[body.autonomy]);
    case 'cut_off_changed':
      draft.cutOff = body.cut_off;
      return note(draft, from, body.cut_off ? 'warning' : 'info', body.kind, cutOff(body.cut_off));
  }
}

const GRAVITY = { green: 'info', amber: 'warning', red: 'error' } as const;

function readinessChanged(body: Of<'readiness_changed'>): string {
  const told = `Readiness: ${nameOfCheck(body.check)} ${WORDS[body.now]}. ${body.evidence}`;
  return body.remedy === undefined ? told : `${told} Remedy: ${body.remedy}`;
}

const MAY: Record<Autonomy, string> = {
  autonomous: 'From here on the agent acts by itself.',
  'approve-mutations': 'From here on the agent asks before it changes anything.',
  'read-only': 'From here on the agent may only look.',
};

const cutOff = (closed: boolean) =>
  closed
    ? 'The agent is cut off: no command of it reaches guest or host. Power and checks work.'
    : 'The cut-off is lifted: the agent reaches guest and host again.';

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

/** What a turn leaves open when it ends does not go on. */
function endTurn(draft: Draft, from: Origin): void {
  draft.turn = undefined;
  draft.typing = undefined;
  for (const key of openKeys(draft, 'tool')) {
    finish(draft, key, 'tool', (item) => ({ ...item, abandoned: true }));
  }
  for (const key of openKeys(draft, 'call')) draft.open.delete(key);
  voidApprovals(draft, from);
}

function applyTool(draft: Draft, from: Origin, body: Of<'tool_started' | 'tool_finished'>): void {
  const key = `tool:${body.tool_call}`;
  if (body.kind === 'tool_started') {
    draft.typing = undefined;
    // Its parts find it here until the turn ends, as they may outlive or trail it.
    draft.open.set(`call:${body.tool_call}`, draft.items.length);
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
      parts: [],
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
        picture: body.picture ?? false,
      };
      if (finish(draft, key, 'verb', (item) => ({ ...item, ended }))) return;
      return add(draft, { ...empty, target: body.target, verb: body.verb, ended });
    }
  }
}
