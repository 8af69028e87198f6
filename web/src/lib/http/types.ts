import type { Vitals } from '../api/Vitals';

/** What the agent can do at the moment. */
export type AgentHealth = {
  available: boolean;
  message?: string | null;
  model: string;
  models: string[];
};

/** Who is signed in, and to what. */
export type Me = {
  identity: string;
  drill: boolean;
  version: string;
  agent: AgentHealth;
  autonomy: string;
};

/** One word of the gate's closed table. */
export type VerbView = { verb: string; mutating: boolean; description: string };

/** A machine that can be saved. */
export type TargetView = {
  name: string;
  guest_address: string;
  host_address: string;
  vitals?: Vitals | null;
  verbs: VerbView[];
  checks?: { check: string; description: string }[];
};

/** The server took an action; what comes of it is in the incident's log. */
export type Accepted = { operation: string; incident: string; replayed?: boolean };
