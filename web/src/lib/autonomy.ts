import type { Autonomy } from './api/Autonomy';

/** The choices, from most to least, each with what it means for the operator. */
export const AUTONOMY: readonly { value: Autonomy; label: string; meaning: string }[] = [
  {
    value: 'autonomous',
    label: 'Acts by itself',
    meaning: 'Repairs without asking; every command is recorded.',
  },
  {
    value: 'approve-mutations',
    label: 'Asks first',
    meaning: 'Looks by itself; whatever may change guest or host waits for your Allow.',
  },
  {
    value: 'read-only',
    label: 'Looks only',
    meaning: 'Whatever may change guest or host is refused.',
  },
];

/** The choice in a few words; a value of a newer server as it is. */
export const autonomyLabel = (value: string) =>
  AUTONOMY.find((choice) => choice.value === value)?.label ?? value;

/** Whether a choice is more than the agent may do here at the most. */
export const isAbove = (value: Autonomy, most: Autonomy | undefined) => {
  const rank = (one: Autonomy) => AUTONOMY.findIndex((choice) => choice.value === one);
  return most !== undefined && rank(value) < rank(most);
};
