/** The verbs that change the guest. */
export const MUTATING: ReadonlySet<string> = new Set(['start', 'stop', 'reset', 'cycle']);

/** A verb as the host is asked for it, by itself or through ssh. */
const REQUEST = /^(?:ssh\s+(?:-\S+\s+)*[\w.@-]+\s+)?["']?(\w+)(?:\s+--json)?["']?$/;

/** The mutating verb that a command amounts to; undefined if it is any other command. */
export function mutatingVerb(command: string): string | undefined {
  const verb = REQUEST.exec(command.trim())?.[1];
  return verb !== undefined && MUTATING.has(verb) ? verb : undefined;
}
