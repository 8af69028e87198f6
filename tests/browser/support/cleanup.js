// What a test started ends with it, the last first: a page before the server that it talks to.
const stacks = new WeakMap();

export function atEnd(test, action) {
  let stack = stacks.get(test);
  if (stack === undefined) {
    stack = [];
    stacks.set(test, stack);
    test.after(async () => {
      for (const end of stack.reverse()) await end();
    });
  }
  stack.push(action);
}
