import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runToEnd } from './first-line.mjs';
import { rafter } from './images.mjs';

/** How long the daemon may take to come up, in milliseconds. */
const PATIENCE = 20_000;

/** The image as rafter converts it by default. @type {import('./startup.mjs').Way} */
export const rafterPlain = {
  name: 'rafter',
  ours: true,

  async prepare({ layout, tag, host, dir }) {
    return convert({ layout, tag, host, dir });
  },

  start: run,
};

/** The same, optimized with the trace of one run. @type {import('./startup.mjs').Way} */
export const rafterOptimized = {
  name: 'rafter, optimized',
  ours: true,

  async prepare({ layout, tag, host, dir }) {
    const name = await convert({ layout, tag, host, dir });
    const trace = join(dir, 'trace');
    await withDaemon(dir, (places) =>
      // What the kernel reads ahead while it is traced it reads again at the start: as `rafter run --learn` has it.
      runToEnd([
        rafter,
        ...['run', '--quiet', ...places, '--plain-http', '--trace', trace, '--read-ahead', '32'],
        `${host}/${name}`,
      ]),
    );
    const optimized = `rafter-optimized:${tag}`;
    await runToEnd([
      rafter,
      'optimize',
      '--quiet',
      '--plain-http',
      `${host}/${name}`,
      `${host}/${optimized}`,
      '--trace',
      trace,
    ]);
    return optimized;
  },

  start: run,
};

async function convert({ layout, tag, host }) {
  const name = `rafter:${tag}`;
  const flags = ['--quiet', '--no-cache', '--plain-http'];
  await runToEnd([rafter, 'convert', ...flags, `oci:${layout}:${tag}`, `${host}/${name}`]);
  return name;
}

/** `ctr run` and `runc spec` have no profile either; compiling one takes runc some 30 ms of a processor. */
const BARE = ['--security-opt', 'seccomp=unconfined'];

async function run(name, { host, dir, peer, begin, ready, onSteps }) {
  const through = peer === undefined ? [] : ['--p2p', peer];
  await withDaemon(dir, async (places) => {
    await begin();
    const timing = onSteps === undefined ? [] : ['--timing', '--json'];
    const flags = ['--quiet', ...timing, ...places, ...BARE, ...through, '--plain-http'];
    const onErrors = (text) => onSteps?.(JSON.parse(text.trim().split('\n').at(-1)).steps);
    await runToEnd([rafter, 'run', ...flags, `${host}/${name}`], { ready, onErrors });
  });
}

/** Runs `work` beside a daemon whose files are all below `dir`; it gets the flags that lead to it. */
async function withDaemon(dir, work) {
  const places = ['--run-dir', join(dir, 'run'), '--data-root', join(dir, 'data')];
  const child = spawn(process.execPath, [rafter, 'daemon', 'run', ...places], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  try {
    for (const end = Date.now() + PATIENCE; !(await isUp(places)); await sleep(50))
      if (child.exitCode !== null || Date.now() > end) throw new Error('the daemon did not come up');
    return await work(places);
  } finally {
    await runToEnd([rafter, 'daemon', 'stop', ...places]).catch(() => child.kill('SIGKILL'));
    await ended;
  }
}

async function isUp(places) {
  const status = await runToEnd([rafter, 'daemon', 'status', '--json', ...places]).catch(() => '');
  return status.includes('"pid"');
}
