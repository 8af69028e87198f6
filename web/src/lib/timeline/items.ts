/*
 * The items of a timeline as the page shows them, and the timeline itself. All values are
 * immutable. Leaves building them from events to `reduce`, and questions about them to `select`.
 */
import type { Actor } from '../api/Actor';
import type { Autonomy } from '../api/Autonomy';
import type { CommandMode } from '../api/CommandMode';
import type { CommandStream } from '../api/CommandStream';
import type { Decision } from '../api/Decision';
import type { Diagnosis } from '../api/Diagnosis';
import type { Level } from '../api/Level';
import type { TurnOutcome } from '../api/TurnOutcome';
import type { Verb } from '../api/Verb';
import type { VerbOutcome } from '../api/VerbOutcome';
import type { Verdict } from '../api/Verdict';

type Base = {
  /** Unique in the timeline, and the same after each replay. */
  id: string;
  /** When it started, RFC 3339. */
  at: string;
  actor: Actor;
  /** False if the log could not store it: then a reload loses it. */
  recorded: boolean;
};

/** A line of output or, with `stdin`, of input. */
export type Line = { stream: CommandStream; text: string };

export type PromptItem = Base & { type: 'prompt'; turn: number; text: string };
type TextItem = Base & { type: 'text'; turn: number; text: string };
/** A tool call of the agent. `endedAt` is undefined while it runs. */
export type ToolItem = Base & {
  type: 'tool';
  turn: number;
  tool: string;
  command: string;
  endedAt?: string;
  failed: boolean;
  output: string;
  omittedBytes: number;
  /** Whether its turn ended while it ran. */
  abandoned: boolean;
  /** The commands and approval requests that it caused, as the bastion recorded them. */
  parts: readonly Part[];
};
/** A command on guest or host, as the bastion recorded it. */
export type CommandItem = Base & {
  type: 'command';
  /** The command's id in the log. */
  command: string;
  host: string;
  mode: CommandMode;
  /** The whole command, or the subsystem's name. Empty for a shell. */
  text: string;
  lines: readonly Line[];
  /** Whether the last line is incomplete. */
  partial: boolean;
  /** Whether the incident was closed, or the turn interrupted, before its end was recorded. */
  abandoned: boolean;
  ended?: {
    exitCode?: number;
    signal?: string;
    durationMs: number;
    omittedBytes: number;
    message?: string;
  };
};
/** Number of parts of a tool call that are shown at first. */
export const PARTS_SHOWN = { head: 2, tail: 4 };

export type VerbItem = Base & {
  type: 'verb';
  operation: string;
  target: string;
  verb: Verb;
  lines: readonly Line[];
  ended?: {
    outcome: VerbOutcome;
    verdict?: Verdict;
    message: string;
    durationMs: number;
    omittedLines: number;
    /** Whether a screenshot from just before the verb is saved. */
    screenshot: boolean;
  };
};
export type DiagnosisItem = Base & {
  type: 'diagnosis';
  check: Diagnosis;
  level: Level;
  summary: string;
  evidence: string;
};
export type FindingItem = Base & {
  type: 'finding';
  /** The diagnosis that found it. Undefined for a finding from the vital signs. */
  check?: Diagnosis;
  signature: string;
  summary: string;
  evidence: string[];
  recommend?: Verb;
};
export type ApprovalItem = Base & {
  type: 'approval';
  approval: string;
  turn: number;
  place: string;
  command: string;
  touches: string;
  /** When it is void without a decision, RFC 3339. Undefined: at the end of its turn. */
  expiresAt?: string;
  decided?: { decision: Decision; note?: string; actor: Actor; at?: string };
};
/** Shown below the tool call that caused it, or as an item if the log names none. */
export type Part = CommandItem | ApprovalItem;
export type TurnEndItem = Base & {
  type: 'turn-end';
  turn: number;
  outcome: TurnOutcome;
  reason?: string;
  durationMs: number;
  costUsd?: number;
};
/** A single line: opened, closed, a notice, a changed host key or setting. */
export type NoteItem = Base & { type: 'note'; level: Level; code: string; text: string };

export type Item =
  | PromptItem
  | TextItem
  | ToolItem
  | CommandItem
  | VerbItem
  | DiagnosisItem
  | FindingItem
  | ApprovalItem
  | TurnEndItem
  | NoteItem;

/** A turn that has not ended. `started`: the agent has accepted the prompt. */
export type RunningTurn = { turn: number; since: string; started: boolean };

export type Timeline = {
  items: readonly Item[];
  /** The indexes of the items that can still change, by `kind:id`. */
  open: ReadonlyMap<string, number>;
  /** The last event's number. */
  seq: number;
  /** Number of unrecorded frames so far, for their items' ids. */
  unrecorded: number;
  turn?: RunningTurn;
  /** The text that the agent is typing. */
  typing?: { turn: number; text: string };
  target?: string;
  drill: boolean;
  /** The agent of the last turn, if there are several. */
  agent?: string;
  /** Undefined until it is changed in this incident. */
  autonomy?: Autonomy;
  cutOff: boolean;
  closedAt?: string;
};

export const emptyTimeline: Timeline = {
  items: [],
  open: new Map(),
  seq: 0,
  unrecorded: 0,
  drill: false,
  cutOff: false,
};
