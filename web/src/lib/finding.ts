import type { SignsFinding } from './api/SignsFinding';
import type { Vitals } from './api/Vitals';
import type { FindingItem } from './timeline/items';

export type Finding = Pick<SignsFinding, 'summary' | 'evidence' | 'recommend'>;

/**
 * The finding to show: from the current vital signs, else from a diagnosis. The server decides
 * which signs make a finding, because it knows how long they have lasted and what was done since.
 */
export const activeFinding = (
  vitals: Vitals | undefined,
  diagnosed: FindingItem | undefined,
): Finding | undefined => vitals?.finding ?? diagnosed;
