/** Questions that are asked often enough to be one tap. */
export const PRESETS: readonly { label: string; text: string }[] = [
  {
    label: 'What is wrong?',
    text: 'What is wrong with the machine? Diagnose first, change nothing, and tell me the cause, the evidence and what you would do.',
  },
  {
    label: 'Fix it',
    text: 'Find out what is wrong and repair it with the smallest step that cures it. Say what you did and how you know that it works.',
  },
  {
    label: 'Disk',
    text: 'Is a file system full? Show what uses the space and what can be deleted without loss. Delete nothing yet.',
  },
  {
    label: 'Services',
    text: 'Which units have failed, since when, and why? Quote the log lines that show it.',
  },
  { label: 'Memory', text: 'Is memory short, did the OOM killer strike, and what uses the most?' },
];
