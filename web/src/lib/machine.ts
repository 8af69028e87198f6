import type { Machine } from './api/Machine';
import { bytes, span } from './format';

/** One line of the machine's details. `bad` lines stand out. */
type Fact = { name: string; text: string; bad?: boolean };

/** How long the disks have written nothing, in ms. Undefined while they write, or if unknown. */
const idleMs = (machine: Machine, now: number) =>
  machine.no_writes_since === undefined ? undefined : now - Date.parse(machine.no_writes_since);

/** The disks' activity in a few words. Undefined if it is unknown. */
export function diskActivity(machine: Machine, now: number): string | undefined {
  const idle = idleMs(machine, now);
  if (idle !== undefined) return `0 writes for ${span(idle)}`;
  return machine.writes_per_s === undefined ? undefined : `${machine.writes_per_s} writes/s`;
}

/** All known facts about the machine, the most important first. */
export function facts(machine: Machine, now: number): Fact[] {
  const disk = diskActivity(machine, now);
  const rate = machine.bytes_written_per_s;
  const pressure = pressures(machine);
  const lines: (Fact | false)[] = [
    disk !== undefined && {
      name: 'Disk',
      text: rate ? `${disk}, ${bytes(rate)}/s` : disk,
      bad: (idleMs(machine, now) ?? 0) >= IDLE_WARNING_MS,
    },
    machine.cpu_percent !== undefined && {
      name: 'Processor',
      text: `${machine.cpu_percent} % of one core`,
    },
    qemu(machine),
    monitor(machine),
    machine.uptime_s !== undefined && { name: 'Uptime', text: span(machine.uptime_s * 1000) },
    pressure !== '' && { name: 'Host pressure', text: pressure },
    machine.elsewhere !== undefined && {
      name: 'Location',
      text: `the guest is on ${machine.elsewhere}`,
      bad: true,
    },
    machine.lock !== undefined && { name: 'Lock', text: machine.lock, bad: true },
    machine.job !== undefined && { name: 'Task', text: machine.job, bad: true },
    machine.frozen === true && {
      name: 'File systems',
      text: 'frozen: writes wait until they are thawed',
      bad: true,
    },
    machine.no_way_back !== undefined && {
      name: 'Restart',
      text: `not assured: ${machine.no_way_back}`,
      bad: true,
    },
    machine.ha_managed === true && {
      name: 'HA',
      text: 'managed: start and stop are requests to the HA manager',
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

/** An idle guest still writes now and then, so a longer pause is unusual. */
const IDLE_WARNING_MS = 60_000;

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
    ...percent('I/O', machine.host_io_pressure),
    ...percent('memory', machine.host_memory_pressure),
    ...percent('processor', machine.host_cpu_pressure),
  ].join(', ');
}
