export const MUTATING: ReadonlySet<string> = new Set(['start', 'stop', 'reset', 'cycle']);

/** A command line that is one verb, alone or through ssh. */
const VERB_COMMAND = /^(?:ssh\s+(?:-\S+\s+)*[\w.@-]+\s+)?["']?(\w+)(?:\s+--json)?["']?$/;

/** The mutating verb that `command` runs. Undefined for any other command. */
export function mutatingVerb(command: string): string | undefined {
  const verb = VERB_COMMAND.exec(command.trim())?.[1];
  return verb !== undefined && MUTATING.has(verb) ? verb : undefined;
}
