import type { Machine } from './api/Machine';
import { bytes, span } from './format';

/** One line of the machine's details; `bad` is one to look at. */
export type Fact = { name: string; text: string; bad?: boolean };

/** How long its disks have written nothing, in ms; undefined while they write, or it can't be told. */
const stillFor = (machine: Machine, now: number) =>
  machine.no_writes_since === undefined ? undefined : now - Date.parse(machine.no_writes_since);

/** What its disks do, in a few words; undefined where that can't be told. */
export function writes(machine: Machine, now: number): string | undefined {
  const still = stillFor(machine, now);
  if (still !== undefined) return `0 writes for ${span(still)}`;
  return machine.writes_per_s === undefined ? undefined : `${machine.writes_per_s} writes/s`;
}

/** All that was measured, in the order in which one looks for it. */
export function facts(machine: Machine, now: number): Fact[] {
  const disk = writes(machine, now);
  const volume = machine.bytes_written_per_s;
  const pressure = pressures(machine);
  const lines: (Fact | false)[] = [
    disk !== undefined && {
      name: 'Disk',
      text: volume ? `${disk}, ${bytes(volume)}/s` : disk,
      bad: (stillFor(machine, now) ?? 0) >= STILL_MS,
    },
    machine.cpu_percent !== undefined && {
      name: 'Processor',
      text: `${machine.cpu_percent} % of one`,
    },
    qemu(machine),
    monitor(machine),
    machine.uptime_s !== undefined && { name: 'Up', text: span(machine.uptime_s * 1000) },
    pressure !== '' && { name: 'Host waits', text: pressure },
    machine.elsewhere !== undefined && {
      name: 'Elsewhere',
      text: `the guest is on ${machine.elsewhere}`,
      bad: true,
    },
    machine.lock !== undefined && { name: 'Lock', text: machine.lock, bad: true },
    machine.job !== undefined && { name: 'Task', text: machine.job, bad: true },
    machine.frozen === true && {
      name: 'Frozen',
      text: 'the guest’s file systems: nothing can be written until they are thawed',
      bad: true,
    },
    machine.no_way_back !== undefined && {
      name: 'Way back',
      text: `none: ${machine.no_way_back}`,
      bad: true,
    },
    machine.ha_managed === true && {
      name: 'HA',
      text: 'managed: a start or a stop is a request to high availability',
      bad: true,
    },
    machine.staged.length > 0 && {
      name: 'Staged',
      text: `a cycle would apply: ${machine.staged.join(' · ')}`,
    },
    ...machine.notes.map((text) => ({ name: 'Note', text })),
  ];
  return lines.filter((line) => line !== false);
}

/** An idle guest writes now and then; from here on it is worth a look. */
const STILL_MS = 60_000;

function qemu({ pid, process_state, run_state }: Machine): Fact | false {
  const process = pid === undefined ? 'no process' : `process ${pid}`;
  const state = process_state === undefined ? '' : ` (${process_state})`;
  const text = [`${process}${state}`, ...(run_state === undefined ? [] : [run_state])].join(', ');
  return { name: 'QEMU', text, bad: process_state === 'D' };
}

function monitor({ monitor_error, monitor_ms }: Machine): Fact | false {
  if (monitor_error !== undefined) {
    return { name: 'Monitor', text: `no answer: ${monitor_error}`, bad: true };
  }
  return monitor_ms !== undefined && { name: 'Monitor', text: `answers in ${monitor_ms} ms` };
}

function pressures(machine: Machine): string {
  const percent = (name: string, value?: number) =>
    value === undefined ? [] : [`${name} ${value} %`];
  return [
    ...percent('for disk', machine.host_io_pressure),
    ...percent('memory', machine.host_memory_pressure),
    ...percent('processor', machine.host_cpu_pressure),
  ].join(', ');
}
