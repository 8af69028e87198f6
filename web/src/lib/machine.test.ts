import { expect, test } from 'vitest';
import type { Machine } from './api/Machine';
import { diskActivity, facts } from './machine';

const now = Date.UTC(2026, 0, 1, 3, 0, 0);
const ago = (ms: number) => new Date(now - ms).toISOString();
const machine = (known: Partial<Machine>): Machine => ({ staged: [], notes: [], ...known });
const text = (known: Partial<Machine>, name: string) =>
  facts(machine(known), now).find((fact) => fact.name === name);

test('unknown values are left out', () => {
  expect(diskActivity(machine({}), now)).toBeUndefined();
  expect(facts(machine({}), now).map((fact) => fact.name)).toEqual(['QEMU']);
});

test('idle disks show for how long, and stand out after a minute', () => {
  const idle = { writes_per_s: 0, bytes_written_per_s: 0, no_writes_since: ago(190_000) };
  expect(diskActivity(machine(idle), now)).toBe('0 writes for 3 min');
  expect(text(idle, 'Disk')).toMatchObject({ text: '0 writes for 3 min', bad: true });
  expect(text({ ...idle, no_writes_since: ago(30_000) }, 'Disk')?.bad).toBe(false);
  const busy = { writes_per_s: 12, bytes_written_per_s: 147_456 };
  expect(text(busy, 'Disk')?.text).toBe('12 writes/s, 147.5 kB/s');
});

test('processor time is a share of one core', () => {
  expect(text({ cpu_percent: 98 }, 'Processor')?.text).toBe('98 % of one core');
});

test('a silent monitor, a lock and high availability stand out', () => {
  const known = { monitor_error: 'no greeting', lock: 'backup (task 12)', ha_managed: true };
  const bad = facts(machine(known), now).filter((fact) => fact.bad);
  expect(bad.map((fact) => fact.name)).toEqual(['Monitor', 'Lock', 'HA']);
});

test('facts that forbid a verb stand out', () => {
  const known = { elsewhere: 'pve2', job: 'vzdump', frozen: true, no_way_back: 'No quorum.' };
  const bad = facts(machine(known), now).filter((fact) => fact.bad);
  expect(bad.map((fact) => fact.name)).toEqual(['Location', 'Task', 'File systems', 'Restart']);
  expect(text({ frozen: false }, 'File systems')).toBeUndefined();
});

test('staged settings are listed as applied by a cycle', () => {
  const staged = ['memory: 8192', 'cores: 4'];
  expect(text({ staged }, 'Staged')?.text).toBe('a cycle would apply: memory: 8192 · cores: 4');
});

test('pressure on the host is listed by resource', () => {
  const known = { host_io_pressure: 1.5, host_memory_pressure: 0 };
  expect(text(known, 'Host pressure')?.text).toBe('I/O 1.5 %, memory 0 %');
});
