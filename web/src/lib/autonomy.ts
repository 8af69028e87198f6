import type { Autonomy } from './api/Autonomy';

/** The levels of autonomy, from most to least, as the operator reads them. */
export const AUTONOMY: readonly { value: Autonomy; label: string; meaning: string }[] = [
  {
    value: 'autonomous',
    label: 'Acts by itself',
    meaning: 'Repairs without asking. Every command is recorded.',
  },
  {
    value: 'approve-mutations',
    label: 'Asks first',
    meaning:
      'Reads without asking. A command that may change the guest or the host waits for your approval.',
  },
  {
    value: 'read-only',
    label: 'Read only',
    meaning: 'A command that may change the guest or the host is refused.',
  },
];

/** The level's label. A value of a newer server is returned unchanged. */
export const autonomyLabel = (value: string) =>
  AUTONOMY.find((level) => level.value === value)?.label ?? value;

/** Whether a level exceeds the ceiling `max`, if there is one. */
export const isAbove = (value: Autonomy, max: Autonomy | undefined) => {
  const rank = (level: Autonomy) => AUTONOMY.findIndex((one) => one.value === level);
  return max !== undefined && rank(value) < rank(max);
};
