import type { Vitals } from './api/Vitals';
import type { FindingItem } from './timeline/items';

/** What is wrong and the one thing to do, in a sentence; `recommend` is a verb, if one helps. */
export type Advice = { text: string; evidence: readonly string[]; recommend?: string };

/**
 * What the vital signs say together now, or else what a check found and nothing has superseded, or
 * else what the signs alone allow to say. Undefined while there is nothing to say, which includes
 * a guest that answers.
 */
export function advise(
  vitals: Vitals | undefined,
  found: FindingItem | undefined,
): Advice | undefined {
  const finding = vitals?.finding ?? found;
  if (finding) {
    return { text: finding.summary, evidence: finding.evidence, recommend: finding.recommend };
  }
  if (!vitals || vitals.ssh.state === 'good' || vitals.ssh.state === 'unknown') return undefined;
  if (vitals.vm.state === 'unknown') {
    return {
      text: 'The guest does not answer, and the host has not said how its VM is.',
      evidence: [],
    };
  }
  if (vitals.vm.state === 'dead') {
    return {
      text: 'The VM is not running. Ask for its status, then start it.',
      evidence: [],
      recommend: 'start',
    };
  }
  const text =
    vitals.ssh.state === 'slow'
      ? 'The guest answers slowly. Ask the agent while it still does.'
      : 'The guest does not answer while its VM runs. Capture forensics, then cycle.';
  return { text, evidence: [], recommend: vitals.ssh.state === 'slow' ? undefined : 'cycle' };
}
