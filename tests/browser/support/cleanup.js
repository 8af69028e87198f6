// Ends everything that a test started, in reverse order: a page before its server.
const stacks = new WeakMap();

/** Timeout for ending one resource. */
const END_MS = 60_000;

/** Resolves as `action`. Rejects with the name `what` after `ms`. */
export async function within(ms, what, action) {
  let timer;
  const timeout = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Waited ${ms / 1000} s for ${what}`)), ms);
  });
  try {
    return await Promise.race([action(), timeout]);
  } finally {
    clearTimeout(timer);
  }
}

/** Ends all of `stack`, even if one fails. Throws the first failure. */
async function endAll(stack) {
  const failures = [];
  for (const { what, action } of stack.reverse()) {
    await within(END_MS, `${what} to end`, async () => action()).catch((error) => failures.push(error));
  }
  if (failures.length > 0) throw failures[0];
}

/** Runs `action` when the test ends. `what` names the resource that it ends. */
export function atEnd(test, what, action) {
  let stack = stacks.get(test);
  if (stack === undefined) {
    stack = [];
    stacks.set(test, stack);
    test.after(() => endAll(stack));
  }
  stack.push({ what, action });
}
