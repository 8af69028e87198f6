import { expect, test } from 'vitest';
import type { Machine } from './api/Machine';
import { facts, writes } from './machine';

const now = Date.UTC(2026, 0, 1, 3, 0, 0);
const ago = (ms: number) => new Date(now - ms).toISOString();
const machine = (known: Partial<Machine>): Machine => ({ staged: [], notes: [], ...known });
const text = (known: Partial<Machine>, name: string) =>
  facts(machine(known), now).find((fact) => fact.name === name);

test('what was not measured is not told', () => {
  expect(writes(machine({}), now)).toBeUndefined();
  expect(facts(machine({}), now).map((fact) => fact.name)).toEqual(['QEMU']);
});

test('disks that stand still say since how long, and stand out after a minute', () => {
  const still = { writes_per_s: 0, bytes_written_per_s: 0, no_writes_since: ago(190_000) };
  expect(writes(machine(still), now)).toBe('0 writes for 3 min');
  expect(text(still, 'Disk')).toMatchObject({ text: '0 writes for 3 min', bad: true });
  expect(text({ ...still, no_writes_since: ago(30_000) }, 'Disk')?.bad).toBe(false);
  const busy = { writes_per_s: 12, bytes_written_per_s: 147_456 };
  expect(text(busy, 'Disk')?.text).toBe('12 writes/s, 147.5 kB/s');
});

test('processor time says of how many processors it is a share', () => {
  expect(text({ cpu_percent: 98 }, 'Processor')?.text).toBe('98 % of one');
});

test('a monitor that does not answer, a lock and high availability stand out', () => {
  const known = { monitor_error: 'no greeting', lock: 'backup (task 12)', ha_managed: true };
  const bad = facts(machine(known), now).filter((fact) => fact.bad);
  expect(bad.map((fact) => fact.name)).toEqual(['Monitor', 'Lock', 'HA']);
});

test('what forbids a verb stands out', () => {
  const known = { elsewhere: 'pve2', job: 'vzdump', frozen: true, no_way_back: 'No quorum.' };
  const bad = facts(machine(known), now).filter((fact) => fact.bad);
  expect(bad.map((fact) => fact.name)).toEqual(['Elsewhere', 'Task', 'Frozen', 'Way back']);
  expect(text({ frozen: false }, 'Frozen')).toBeUndefined();
});

test('staged settings say that a cycle would apply them', () => {
  const staged = ['memory: 8192', 'cores: 4'];
  expect(text({ staged }, 'Staged')?.text).toBe('a cycle would apply: memory: 8192 · cores: 4');
});

test('the pressure on the host is told by what is waited for', () => {
  const known = { host_io_pressure: 1.5, host_memory_pressure: 0 };
  expect(text(known, 'Host waits')?.text).toBe('for disk 1.5 %, memory 0 %');
});
