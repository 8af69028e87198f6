// What a test started ends with it, the last first: a page before the server that it talks to.
const stacks = new WeakMap();

/** How long one thing that a test started may take to end. */
const END_MS = 60_000;

/** What `action` resolves to; rejects with what was waited for if that takes longer. */
export async function within(ms, what, action) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Waited ${ms / 1000} s for ${what}`)), ms);
  });
  try {
    return await Promise.race([action(), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Ends all of `stack`, also what comes after one that fails; throws the first failure. */
async function endAll(stack) {
  const failures = [];
  for (const { what, action } of stack.reverse()) {
    await within(END_MS, `${what} to end`, async () => action()).catch((error) => failures.push(error));
  }
  if (failures.length > 0) throw failures[0];
}

/** Runs `action` when the test ends; `what` names the thing that it ends. */
export function atEnd(test, what, action) {
  let stack = stacks.get(test);
  if (stack === undefined) {
    stack = [];
    stacks.set(test, stack);
    test.after(() => endAll(stack));
  }
  stack.push({ what, action });
}
