import type { AgentChoice } from '../lib/api/AgentChoice';
import type { Autonomy } from '../lib/api/Autonomy';
import type { TargetView } from '../lib/api/TargetView';
import type { Vitals } from '../lib/api/Vitals';
import { download } from '../lib/download';
import { api, type Answer } from '../lib/http/client';
import { SignedOutAtEdge } from '../lib/http/edge';
import { Problem } from '../lib/http/problem';
import type { IncidentSummary } from '../lib/api/IncidentSummary';
import type { Unanswered } from '../lib/timeline/handover';
import { emptyTimeline, type ApprovalItem } from '../lib/timeline/items';
import { lapsedApprovals, openApprovals, runningVerbs } from '../lib/timeline/select';
import { Approvals } from './approvals.svelte';
import { Composer } from './composer.svelte';
import { LiveIncident } from './incident.svelte';
import { Power } from './power.svelte';
import { router } from './route.svelte';
import type { Session } from './session.svelte';
import { Screen } from './screen.svelte';
import { Setting } from './setting.svelte';
import { load, save } from './storage';

const POLL_MS = 4_000;
const NO_ANSWER = 'No answer from the server. Try again.';

/**
 * The operator's place of work: one target, its newest open incident followed live, and the
 * actions on both. While no incident is followed it asks now and then for vitals and for an
 * incident that somebody else opened.
 */
export class Desk {
  targets = $state.raw<readonly TargetView[]>([]);
  targetName = $state(load('target') ?? '');
  incident = $state.raw<LiveIncident>();
  vitals = $state.raw<Readonly<Record<string, Vitals>>>({});
  /** Why the last request of the desk itself failed. */
  message = $state('');
  loaded = $state(false);
  stopping = $state(false);

  readonly power: Power;
  readonly composer = new Composer();
  readonly approvals = new Approvals(() => this.#signedOut());
  readonly screen = new Screen(api.screen, () => this.#signedOut());
  readonly setAutonomy = new Setting<Autonomy>(api.autonomy, () => this.#signedOut());
  readonly setCutOff = new Setting<boolean>(api.cutOff, () => this.#signedOut());
  readonly target = $derived(
    this.targets.find((t) => t.name === this.targetName) ?? this.targets[0],
  );
  readonly timeline = $derived(this.incident?.timeline ?? emptyTimeline);
  readonly closed = $derived(this.timeline.closedAt !== undefined);
  /** What the agent asks and nobody has answered. */
  readonly questions = $derived(openApprovals(this.timeline));
  /** What it asked and nobody answered in time, until that was read. */
  readonly unanswered = $derived(
    this.closed
      ? []
      : lapsedApprovals(this.timeline).filter((q) => !this.approvals.isRead(q.approval)),
  );
  /** What the agent may do without asking: the log's last word, else the server's; empty until it is known. */
  readonly autonomy = $derived.by(() => {
    // Half of a log may hold another word than the whole of it.
    if (this.incident && !this.incident.complete) return '';
    return this.timeline.autonomy ?? this.session.me?.autonomy ?? '';
  });
  readonly cutOff = $derived(this.timeline.cutOff);
  /** Whether what is shown is known to be older than the line would have it. */
  readonly stale = $derived.by(() => {
    const state = this.incident?.connection.state;
    return this.session.signedOutAtEdge || state === 'lost' || state === 'paused';
  });
  /** Known only while the line is up; without it, the server's refusal has to do. */
  readonly running = $derived(
    this.incident?.connection.state === 'live' ? runningVerbs(this.timeline) : [],
  );

  #poll: ReturnType<typeof setInterval> | undefined;

  /** Begins with the open incident `linked`; else with the newest of the machine chosen last. */
  constructor(
    readonly session: Session,
    linked?: IncidentSummary,
  ) {
    this.power = new Power(
      () => (this.closed ? undefined : this.incident?.id),
      (incident) => {
        this.follow(incident);
        this.incident?.toEnd();
      },
    );
    if (linked) {
      this.#select(linked.target);
      this.follow(linked.incident);
    }
  }

  /** Works until the returned function is called. */
  start(): () => void {
    const back = () => {
      if (!document.hidden) void this.refresh();
    };
    void this.refresh();
    this.#poll = setInterval(() => {
      const wanted = !this.#live() && !this.session.signedOutAtEdge;
      if (!document.hidden && wanted) void this.refresh();
    }, POLL_MS);
    document.addEventListener('visibilitychange', back);
    addEventListener('online', back);
    addEventListener('pageshow', back);
    return () => {
      clearInterval(this.#poll);
      document.removeEventListener('visibilitychange', back);
      removeEventListener('online', back);
      removeEventListener('pageshow', back);
      this.incident?.stop();
      this.incident = undefined;
    };
  }

  /** Reads targets and incidents; follows the target's newest open one. */
  async refresh(): Promise<void> {
    try {
      const [targets, incidents] = await Promise.all([api.targets(), api.incidents()]);
      this.session.contact(Date.now());
      if (this.message === NO_ANSWER) this.message = '';
      this.targets = targets;
      for (const { vitals } of targets) if (vitals) this.#vitals(vitals);
      this.loaded = true;
      this.#adopt(incidents);
    } catch (error) {
      this.#failed(error);
    }
  }

  choose(target: string): void {
    this.#select(target);
    this.incident?.stop();
    this.incident = undefined;
    router.forget();
    void this.refresh();
  }

  #select(target: string): void {
    this.targetName = target;
    save('target', target);
  }

  /** Shows this incident, unless it is shown already. */
  follow(id: string): void {
    if (this.incident?.id === id) return;
    if (this.incident) router.forget();
    this.incident?.stop();
    this.incident = new LiveIncident(id, {
      vitals: (vitals) => this.#vitals(vitals),
      signedOut: () => this.#signedOut(),
      heard: (at) => this.session.contact(at),
    });
  }

  async open(): Promise<string | undefined> {
    const target = this.target;
    if (!target) return undefined;
    try {
      const { incident } = await api.openIncident(target.name);
      this.follow(incident);
      return incident;
    } catch (error) {
      this.#failed(error);
      return undefined;
    }
  }

  dismiss(): void {
    this.message = '';
    this.session.message = '';
  }

  async close(): Promise<void> {
    await this.#act(async (incident) => void (await api.closeIncident(incident)));
  }

  async ask(text?: string): Promise<void> {
    const incident = this.closed ? undefined : this.incident?.id;
    const into = incident ?? (await this.open());
    if (into === undefined) {
      this.composer.message = this.message;
      return;
    }
    this.incident?.toEnd();
    const { model, agent } = this;
    const asked = { model, agent: agent?.name };
    await this.composer.send(into, this.timeline.seq, asked, text);
    if (!this.session.me?.agent.available) void this.session.refresh();
  }

  async downloadReport(): Promise<void> {
    await this.#act(async (incident) => {
      download(`incident-${incident}.md`, await api.report(incident));
    });
  }

  async stopTurn(): Promise<void> {
    this.stopping = true;
    await this.#act(async (incident) => void (await api.stop(incident)));
    this.stopping = false;
  }

  async answer(question: ApprovalItem, decision: Answer, note?: string): Promise<void> {
    if (this.incident) await this.approvals.decide(this.incident.id, question, decision, note);
  }

  /** Asks for another setting in the incident that is shown. */
  async change<T>(setting: Setting<T>, value: T): Promise<void> {
    if (this.incident && !this.closed) await setting.ask(this.incident.id, value);
  }

  /** What there is to say about a wish; nothing while the log is about to show it by itself. */
  told(setting: Setting<Autonomy> | Setting<boolean>): string {
    const live = this.incident?.connection.state === 'live';
    const { phase, message = '' } = setting.asked ?? {};
    return phase === 'confirmed' && live ? '' : message;
  }

  /** Has another agent go on with what was asked last. */
  async handOver(agent: string, asked: Unanswered): Promise<void> {
    if (asked.running) await this.stopTurn();
    this.composer.agent = agent;
    await this.ask(asked.text);
  }

  /** The agent for the next prompt. */
  get agent(): AgentChoice | undefined {
    const agents = this.session.me?.agents ?? [];
    const name = this.composer.agent || this.timeline.agent;
    return agents.find((one) => one.name === name) ?? agents[0];
  }

  /** The model for the next prompt: the operator's choice while the agent has it. */
  get model(): string {
    const { agent } = this;
    if (!agent) return '';
    return agent.models.includes(this.composer.model) ? this.composer.model : agent.model;
  }

  async #act(action: (incident: string) => Promise<void>): Promise<void> {
    if (!this.incident) return;
    this.message = '';
    try {
      await action(this.incident.id);
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Follows the newest open incident of the target; one in view stays until it is closed. */
  #adopt(incidents: readonly IncidentSummary[]): void {
    const mine = incidents.filter((i) => i.target === this.target?.name && !i.closed_at);
    const newest = mine.reduce<IncidentSummary | undefined>(
      (best, i) => (best && best.opened_at >= i.opened_at ? best : i),
      undefined,
    );
    if (newest && (!this.incident || this.closed)) this.follow(newest.incident);
  }

  #vitals(vitals: Vitals): void {
    this.vitals = { ...this.vitals, [vitals.target]: vitals };
  }

  #live(): boolean {
    const connection = this.incident?.connection;
    if (connection === undefined || connection.state === 'ended') return false;
    return connection.state !== 'live' || !connection.polled;
  }

  #signedOut(): void {
    this.session.lost('Your session has ended. Sign in again.');
  }

  #failed(error: unknown): void {
    if (error instanceof Problem && error.status === 401) {
      this.#signedOut();
    } else if (error instanceof SignedOutAtEdge) {
      this.message = '';
    } else if (error instanceof Problem) {
      this.message = error.message;
    } else if (this.loaded) {
      this.message = NO_ANSWER;
    }
  }
}
