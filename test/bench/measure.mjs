import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';

/** How often the processes are looked at. What they needed in the last few milliseconds may be missed. */
const SAMPLE_MS = 10;

/**
 * @typedef {object} Measured
 * @property {number} seconds that the command took
 * @property {number} cpu seconds of all its processes, in user mode and in the kernel
 * @property {number} peakRss most bytes of memory that one of its processes ever had (VmHWM)
 * @property {string} output the end of what it printed
 */

/**
 * Runs a program to its end and measures it and all it starts. An error with what it printed if it fails.
 * @param {string[]} command
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Promise<Measured>}
 */
export async function measure(command, env = process.env) {
  // bash counts the CPU seconds of everything below it; file descriptor 3 is only for its result.
  const script = 'TIMEFORMAT="%R %U %S"; { time "$@" 2>&4; } 4>&2 2>&3';
  const child = spawn('bash', ['-c', script, 'bash', ...command], {
    env: { ...env, LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  let output = '';
  let times = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (piece) => {
      output = (output + piece).slice(-4000);
    });
  }
  child.stdio[3].on('data', (piece) => {
    times += piece;
  });
  let peakRss = 0;
  const timer = setInterval(() => {
    peakRss = Math.max(peakRss, ...descendants(child.pid).map(peakOf));
  }, SAMPLE_MS);
  const [code] = await once(child, 'close');
  clearInterval(timer);
  if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}:\n${output}`);
  const [seconds, user, system] = times.trim().split(' ').map(Number);
  return { seconds, cpu: user + system, peakRss, output };
}

/** Process ids below `pid`, without it. */
function descendants(pid) {
  const found = [];
  for (const thread of list(`/proc/${pid}/task`)) {
    for (const child of read(`/proc/${pid}/task/${thread}/children`).split(' ').filter(Boolean)) {
      found.push(child, ...descendants(child));
    }
  }
  return found;
}

function peakOf(pid) {
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) * 1024;
}

/** Processes end while they are looked at. */
function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function list(path) {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
