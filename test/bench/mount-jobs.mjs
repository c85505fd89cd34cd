import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { measure } from './measure.mjs';

/** Enough warm reads to be measured, and few enough cold ones for a slow disk. */
const RANDOM_READS = { cold: 4000, warm: 100_000 };
/** Clock ticks in a second that /proc counts in (USER_HZ). */
const TICKS = 100;

/** Reads a file in a process of its own, which prints how long that took: Node's start does not count. */
const READER = `
const { openSync, readSync, fstatSync } = require('node:fs');
const [path, count] = process.argv.slice(1);
const fd = openSync(path, 'r');
const { size } = fstatSync(fd);
const started = process.hrtime.bigint();
if (Number(count) > 0) {
  const piece = Buffer.alloc(4096);
  let seed = 12345;
  for (let i = 0; i < Number(count); i++) {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    const at = Math.floor((seed / 2 ** 32) * (size / 4096)) * 4096;
    if (readSync(fd, piece, 0, 4096, at) < 1) throw new Error('nothing at ' + at);
  }
} else {
  const piece = Buffer.alloc(1 << 17);
  let at = 0;
  for (let length = 1; length > 0; at += length) length = readSync(fd, piece, 0, piece.length, at);
  if (at !== size) throw new Error('the file ended at ' + at);
}
console.log(Number(process.hrtime.bigint() - started) / 1e9);`;

/**
 * What is measured: `command` is a program and its arguments for a tree at `dir`, in the state `cold` or `warm`. With `clock` its
 * last line of output says how many seconds it took.
 */
export const JOBS = [
  {
    name: 'walk',
    tree: 'image',
    command: (dir) => ['sh', '-c', 'find "$1" -printf "%s %m %T@\\n" >/dev/null', 'sh', dir],
  },
  {
    name: 'tar',
    tree: 'image',
    // tar reads no file when it knows that it writes to /dev/null.
    command: (dir) => ['sh', '-c', 'tar -C "$1" -cf - . | cat >/dev/null', 'sh', dir],
  },
  {
    name: 'random 4 KiB',
    tree: 'large',
    clock: true,
    command: (dir, state) => [
      process.execPath,
      '-e',
      READER,
      join(dir, 'file-0'),
      String(RANDOM_READS[state]),
    ],
  },
  {
    name: 'sequential',
    tree: 'large',
    clock: true,
    command: (dir) => [process.execPath, '-e', READER, join(dir, 'file-0'), '0'],
  },
];

/**
 * Runs a job on the tree at `dir`, which the processes `pids` serve.
 * @returns {Promise<{seconds: number, cpu: number}>} `cpu`: seconds of the job and of those processes
 */
export async function runJob(job, dir, { state, pids }) {
  if (state === 'cold') dropCaches();
  const before = cpuOf(pids);
  const { seconds, cpu, output } = await measure(job.command(dir, state));
  const own = job.clock ? Number(output.trim().split('\n').at(-1)) : seconds;
  return { seconds: own, cpu: cpu + cpuOf(pids) - before };
}

/** Page cache, names and inodes of the whole machine. */
function dropCaches() {
  execFileSync('sync');
  writeFileSync('/proc/sys/vm/drop_caches', '3');
}

/** CPU seconds that processes have used so far. */
function cpuOf(pids) {
  let ticks = 0;
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS;
}

/** Bytes of resident memory of a process: all, and what belongs to no file. */
export function memoryOf(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const field = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) * 1024;
  return { resident: field('VmRSS'), anonymous: field('RssAnon') };
}
