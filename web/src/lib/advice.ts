import type { Vitals } from './api/Vitals';
import type { FindingItem } from './timeline/items';

/** What is wrong and the one thing to do, in a sentence; `recommend` is a verb, if one helps. */
export type Advice = { text: string; evidence: readonly string[]; recommend?: string };

/**
 * What the vital signs say together now, or else what a check found and nothing has superseded.
 * The rules are the server's: it knows how long a sign has lasted and what was done since, so a
 * guest that boots is not taken for one that hangs.
 */
export function advise(
  vitals: Vitals | undefined,
  found: FindingItem | undefined,
): Advice | undefined {
  const finding = vitals?.finding ?? found;
  return (
    finding && { text: finding.summary, evidence: finding.evidence, recommend: finding.recommend }
  );
}
