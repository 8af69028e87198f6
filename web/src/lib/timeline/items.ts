import type { Actor } from '../api/Actor';
import type { Autonomy } from '../api/Autonomy';
import type { CommandMode } from '../api/CommandMode';
import type { CommandStream } from '../api/CommandStream';
import type { Decision } from '../api/Decision';
import type { Level } from '../api/Level';
import type { TurnOutcome } from '../api/TurnOutcome';
import type { VerbOutcome } from '../api/VerbOutcome';

/** What every item of the timeline has. */
type Base = {
  /** Unique in the timeline, the same after each replay. */
  id: string;
  /** When it began; RFC 3339. */
  at: string;
  actor: Actor;
  /** False if the log could not store it: it is shown now and will be gone after a reload. */
  recorded: boolean;
};

/** A line of what was printed or, with `stdin`, of what was sent. */
export type Line = { stream: CommandStream; text: string };

export type PromptItem = Base & { type: 'prompt'; turn: number; text: string };
export type TextItem = Base & { type: 'text'; turn: number; text: string };
/** A tool that the agent uses; `endedAt` is missing while it runs. */
export type ToolItem = Base & {
  type: 'tool';
  turn: number;
  tool: string;
  command: string;
  endedAt?: string;
  failed: boolean;
  output: string;
  omittedBytes: number;
  /** Its turn ended while it still ran. */
  abandoned: boolean;
  /** What it asked for and did on guest and host, as the bastion saw it. */
  parts: readonly Part[];
};
/** A command as the bastion saw it. */
export type CommandItem = Base & {
  type: 'command';
  /** The log's own name for it. */
  command: string;
  host: string;
  mode: CommandMode;
  /** The whole command; a subsystem's name; empty for a shell. */
  text: string;
  lines: readonly Line[];
  /** The last line goes on with what its stream says next. */
  partial: boolean;
  /** The log ends, or the server was gone, without a word about its end. */
  abandoned: boolean;
  ended?: {
    exitCode?: number;
    signal?: string;
    durationMs: number;
    omittedBytes: number;
    message?: string;
  };
};
/** How many parts of one tool call are shown before a tap asks for more. */
export const PARTS_SHOWN = { head: 2, tail: 4 };

export type VerbItem = Base & {
  type: 'verb';
  operation: string;
  target: string;
  verb: string;
  lines: readonly Line[];
  ended?: {
    outcome: VerbOutcome;
    verdict?: string;
    message: string;
    durationMs: number;
    omittedLines: number;
    /** Whether the screen of just before is kept. */
    picture: boolean;
  };
};
export type CheckItem = Base & {
  type: 'check';
  check: string;
  level: Level;
  summary: string;
  evidence: string;
};
export type FindingItem = Base & {
  type: 'finding';
  /** The check that found it; none where the vital signs said it. */
  check?: string;
  signature: string;
  summary: string;
  evidence: string[];
  recommend?: string;
};
export type ApprovalItem = Base & {
  type: 'approval';
  approval: string;
  turn: number;
  place: string;
  command: string;
  touches: string;
  /** When it is void without an answer, RFC 3339; else it waits as long as its turn lasts. */
  expiresAt?: string;
  decided?: { decision: Decision; note?: string; actor: Actor; at?: string };
};
/** What stands under the tool call that caused it, or alone where the log names none. */
export type Part = CommandItem | ApprovalItem;
export type TurnEndItem = Base & {
  type: 'turn-end';
  turn: number;
  outcome: TurnOutcome;
  reason?: string;
  durationMs: number;
  costUsd?: number;
};
/** A line without parts: opened, closed, notices, a changed host key, what the agent may do. */
export type NoteItem = Base & { type: 'note'; level: Level; code: string; text: string };

export type Item =
  | PromptItem
  | TextItem
  | ToolItem
  | CommandItem
  | VerbItem
  | CheckItem
  | FindingItem
  | ApprovalItem
  | TurnEndItem
  | NoteItem;

/** A turn that has not ended: `started` once the agent took the prompt. */
export type RunningTurn = { turn: number; since: string; started: boolean };

/** Everything that an incident's log and frames say, ready to be shown. Values are immutable. */
export type Timeline = {
  items: readonly Item[];
  /** Where the items are that can still change, by `kind:id`. */
  open: ReadonlyMap<string, number>;
  /** The last event's number. */
  seq: number;
  /** Counts unrecorded frames, for their items' ids. */
  unrecorded: number;
  turn?: RunningTurn;
  /** What the agent is typing at the moment. */
  typing?: { turn: number; text: string };
  target?: string;
  drill: boolean;
  /** The agent that had the last turn, where there are several. */
  agent?: string;
  /** What the agent may do without asking, once it was changed in this incident. */
  autonomy?: Autonomy;
  /** Whether the bastion is closed to the agent. */
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
