/*
 * Owns the operator's view of one target: which target and incident are shown, the live incident,
 * and the actions on both. Leaves sending verbs to Power, prompts to Composer, decisions to
 * Approvals and the sign-in to Session. While no incident is followed live, it polls for vitals
 * and for an incident that another operator opened.
 */
import type { AgentChoice } from '../lib/api/AgentChoice';
import type { Autonomy } from '../lib/api/Autonomy';
import type { IncidentSummary } from '../lib/api/IncidentSummary';
import type { TargetView } from '../lib/api/TargetView';
import type { Vitals } from '../lib/api/Vitals';
import { download } from '../lib/download';
import { api, type OperatorDecision } from '../lib/http/client';
import { SignedOutAtEdge } from '../lib/http/edge';
import { isSignedOut, messageOf, Problem } from '../lib/http/problem';
import type { UnansweredPrompt } from '../lib/timeline/hand-over';
import { emptyTimeline, type ApprovalItem } from '../lib/timeline/items';
import { expiredApprovals, openApprovals, runningVerbs } from '../lib/timeline/select';
import { Approvals } from './approvals.svelte';
import { Composer } from './composer.svelte';
import { LiveIncident } from './incident.svelte';
import { Power } from './power.svelte';
import { router } from './route.svelte';
import { Screen } from './screen.svelte';
import type { Session } from './session.svelte';
import { Setting } from './setting.svelte';
import { load, save } from './storage';

const POLL_MS = 4_000;
const NO_ANSWER = 'No answer from the server. Try again.';

export class Workspace {
  targets = $state.raw<readonly TargetView[]>([]);
  targetName = $state(load('target') ?? '');
  incident = $state.raw<LiveIncident>();
  /** By target name. */
  vitals = $state.raw<Readonly<Record<string, Vitals>>>({});
  /** Why the last request failed. */
  message = $state('');
  loaded = $state(false);
  stopping = $state(false);

  readonly power: Power;
  readonly composer = new Composer();
  readonly approvals = new Approvals(() => this.session.expire());
  readonly screen = new Screen(api.screenshot, () => this.session.expire());
  readonly autonomySetting = new Setting<Autonomy>(api.autonomy, () => this.session.expire());
  readonly cutOffSetting = new Setting<boolean>(api.cutOff, () => this.session.expire());
  readonly target = $derived(
    this.targets.find((t) => t.name === this.targetName) ?? this.targets[0],
  );
  readonly timeline = $derived(this.incident?.timeline ?? emptyTimeline);
  readonly closed = $derived(this.timeline.closedAt !== undefined);
  readonly openApprovals = $derived(openApprovals(this.timeline));
  /** Approval requests that expired, until the operator dismisses them. */
  readonly expiredApprovals = $derived(
    this.closed
      ? []
      : expiredApprovals(this.timeline).filter((a) => !this.approvals.isDismissed(a.approval)),
  );
  /** The log's last value, else the server's default. Empty until it is known. */
  readonly autonomy = $derived.by(() => {
    // A later part of the log may change the value.
    if (this.incident && !this.incident.complete) return '';
    return this.timeline.autonomy ?? this.session.me?.autonomy ?? '';
  });
  readonly cutOff = $derived(this.timeline.cutOff);
  /** Whether the page shows an old state because the connection is down. */
  readonly stale = $derived.by(() => {
    const state = this.incident?.connection.state;
    return this.session.signedOutAtEdge || state === 'lost' || state === 'paused';
  });
  /** Running verbs. Empty without a live connection: then the server refuses a second verb. */
  readonly running = $derived(
    this.incident?.connection.state === 'live' ? runningVerbs(this.timeline) : [],
  );

  #poll: ReturnType<typeof setInterval> | undefined;

  /** Starts with `linked`, an open incident, or else with the last chosen target. */
  constructor(
    readonly session: Session,
    linked?: IncidentSummary,
  ) {
    this.power = new Power(
      () => (this.closed ? undefined : this.incident?.id),
      (incident) => {
        this.follow(incident);
        this.incident?.scrollToEnd();
      },
    );
    if (linked) {
      this.#selectTarget(linked.target);
      this.follow(linked.incident);
    }
  }

  /** Refreshes and polls until the returned function is called. */
  start(): () => void {
    const refresh = () => {
      if (!document.hidden) void this.refresh();
    };
    void this.refresh();
    this.#poll = setInterval(() => {
      if (!this.#isFollowing() && !this.session.signedOutAtEdge) refresh();
    }, POLL_MS);
    document.addEventListener('visibilitychange', refresh);
    addEventListener('online', refresh);
    addEventListener('pageshow', refresh);
    return () => {
      clearInterval(this.#poll);
      document.removeEventListener('visibilitychange', refresh);
      removeEventListener('online', refresh);
      removeEventListener('pageshow', refresh);
      this.incident?.stop();
      this.incident = undefined;
    };
  }

  /** Loads targets and incidents, and follows the target's newest open incident. */
  async refresh(): Promise<void> {
    try {
      const [targets, incidents] = await Promise.all([api.targets(), api.incidents()]);
      this.session.noteContact(Date.now());
      if (this.message === NO_ANSWER) this.message = '';
      this.targets = targets;
      for (const { vitals } of targets) if (vitals) this.#setVitals(vitals);
      this.loaded = true;
      this.#followNewest(incidents);
    } catch (error) {
      this.#showError(error);
    }
  }

  chooseTarget(target: string): void {
    this.#selectTarget(target);
    this.incident?.stop();
    this.incident = undefined;
    router.clearIncident();
    void this.refresh();
  }

  #selectTarget(target: string): void {
    this.targetName = target;
    save('target', target);
  }

  /** Shows this incident live. Does nothing if it is already shown. */
  follow(id: string): void {
    if (this.incident?.id === id) return;
    if (this.incident) router.clearIncident();
    this.incident?.stop();
    this.incident = new LiveIncident(id, {
      vitals: (vitals) => this.#setVitals(vitals),
      signedOut: () => this.session.expire(),
      contact: (at) => this.session.noteContact(at),
    });
  }

  async openIncident(): Promise<string | undefined> {
    const target = this.target;
    if (!target) return undefined;
    try {
      const { incident } = await api.openIncident(target.name);
      this.follow(incident);
      return incident;
    } catch (error) {
      this.#showError(error);
      return undefined;
    }
  }

  async closeIncident(): Promise<void> {
    await this.#request(api.closeIncident);
  }

  dismiss(): void {
    this.message = '';
    this.session.message = '';
  }

  /** Sends `text`, or else the draft, to the agent. Opens an incident if none is open. */
  async sendPrompt(text?: string): Promise<void> {
    const open = this.closed ? undefined : this.incident?.id;
    const incident = open ?? (await this.openIncident());
    if (incident === undefined) {
      this.composer.message = this.message;
      return;
    }
    this.incident?.scrollToEnd();
    const { model, agent } = this;
    const options = { model, agent: agent?.name };
    await this.composer.send(incident, this.timeline.seq, options, text);
    if (!this.session.me?.agent.available) void this.session.refresh();
  }

  async downloadReport(): Promise<void> {
    await this.#request(async (incident) => {
      download(`incident-${incident}.md`, await api.report(incident));
    });
  }

  async stopTurn(): Promise<void> {
    this.stopping = true;
    await this.#request(api.stop);
    this.stopping = false;
  }

  async decide(approval: ApprovalItem, decision: OperatorDecision, note?: string): Promise<void> {
    if (this.incident) await this.approvals.decide(this.incident.id, approval, decision, note);
  }

  async changeSetting<T>(setting: Setting<T>, value: T): Promise<void> {
    if (this.incident && !this.closed) await setting.change(this.incident.id, value);
  }

  /** The message on a requested change. Empty if the live log is about to show the change. */
  statusOf(setting: Setting<Autonomy> | Setting<boolean>): string {
    const live = this.incident?.connection.state === 'live';
    const { phase, message = '' } = setting.request ?? {};
    return phase === 'confirmed' && live ? '' : message;
  }

  /** Sends the last prompt to another agent. */
  async handOver(agent: string, prompt: UnansweredPrompt): Promise<void> {
    if (prompt.running) await this.stopTurn();
    this.composer.agent = agent;
    await this.sendPrompt(prompt.text);
  }

  /** The agent for the next prompt. */
  get agent(): AgentChoice | undefined {
    const agents = this.session.me?.agents ?? [];
    const name = this.composer.agent || this.timeline.agent;
    return agents.find((agent) => agent.name === name) ?? agents[0];
  }

  /** The model for the next prompt: the operator's choice if the agent offers it. */
  get model(): string {
    const { agent } = this;
    if (!agent) return '';
    return agent.models.includes(this.composer.model) ? this.composer.model : agent.model;
  }

  async #request(send: (incident: string) => Promise<unknown>): Promise<void> {
    if (!this.incident) return;
    this.message = '';
    try {
      await send(this.incident.id);
    } catch (error) {
      this.#showError(error);
    }
  }

  /** Follows the target's newest open incident, unless an open one is already shown. */
  #followNewest(incidents: readonly IncidentSummary[]): void {
    const open = incidents.filter((i) => i.target === this.target?.name && !i.closed_at);
    const newest = open.reduce<IncidentSummary | undefined>(
      (best, i) => (best && best.opened_at >= i.opened_at ? best : i),
      undefined,
    );
    if (newest && (!this.incident || this.closed)) this.follow(newest.incident);
  }

  #setVitals(vitals: Vitals): void {
    this.vitals = { ...this.vitals, [vitals.target]: vitals };
  }

  #isFollowing(): boolean {
    const connection = this.incident?.connection;
    if (connection === undefined || connection.state === 'ended') return false;
    return connection.state !== 'live' || !connection.polled;
  }

  #showError(error: unknown): void {
    if (isSignedOut(error)) this.session.expire();
    else if (error instanceof SignedOutAtEdge) this.message = '';
    else if (error instanceof Problem || this.loaded) this.message = messageOf(error, NO_ANSWER);
  }
}
