// Starts a real target and `breakglass serve` for it: QEMU under libvirt, sshd with the gate.
import { createInterface } from 'node:readline';
import { within } from './cleanup.js';
import { serve, start, target } from './server.js';

/** Long enough to build the guest's images before the first boot. */
const LAB_MS = 180_000;

/** Starts the target and the server. */
export async function startLab(test) {
  const machine = start(test, `${target}examples/lab-target`, []);
  const lines = createInterface({ input: machine.stdout })[Symbol.asyncIterator]();
  const addresses = JSON.parse(await next(lines, 'the machine'));
  const server = await serve(test, addresses);
  return {
    ...server,
    /** Causes a fault in the target. Resolves once it is done. */
    inflict: async (fault) => {
      machine.stdin.write(`${fault}\n`);
      const answer = await next(lines, fault);
      if (answer !== 'done') throw new Error(`${fault}: ${answer}`);
    },
  };
}

async function next(lines, what) {
  const { value, done } = await within(LAB_MS, what, () => lines.next());
  if (done) throw new Error(`${what}: the machine ended`);
  return value;
}
