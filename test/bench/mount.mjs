import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { JOBS, memoryOf, runJob } from './mount-jobs.mjs';
import { prepare, serveDirectories, serveNydusd, serveRafter } from './mount-trees.mjs';
import { writeLargeLayer } from './synthetic.mjs';

const USAGE = `usage: npm run bench:mount -- [OPTIONS] [LAYOUT:TAG]

Reads a mounted image, whose data is local, through every driver, next to the same tree unpacked in a directory and, if
RAFTER_PEERS names a folder with nydusd, mounted by that: a walk, a tar, random and sequential reads of one large file.
Cold (page cache dropped) and warm; seconds, CPU seconds of reader and daemon, and both as ratios to the directory's. Drivers take
turns, and the quickest of the runs counts. Needs root. Without LAYOUT:TAG, the image that quickstart builds.

  --dir <path>         where everything is written: a directory of the disk to compare with (default: a temporary one)
  --keep <path>        keep the images here, converted and unpacked, and take them from here the next time
  --large-size <MiB>   size of the large file (default 256)
  --runs <n>           how often each is read (default 3)
  --only <word>        only the drivers and jobs whose name has this word, besides the directory; may be repeated
  --json               results as JSON lines`;

const project = resolve(import.meta.dirname, '../..');

/** How the images are mounted by rafter. */
const DRIVERS = [
  { name: 'erofs', flags: ['--driver', 'erofs'] },
  { name: 'erofs, first mount', flags: ['--driver', 'erofs'], first: true },
  { name: 'fuse', flags: ['--driver', 'fuse', '--transport', 'device'] },
  { name: 'fuse, libfuse', flags: ['--driver', 'fuse', '--transport', 'libfuse'] },
];

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    dir: { type: 'string', default: tmpdir() },
    'large-size': { type: 'string', default: '256' },
    keep: { type: 'string' },
    runs: { type: 'string', default: '3' },
    only: { type: 'string', multiple: true, default: [] },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (options.help) console.log(USAGE);
else await bench();

async function bench() {
  const dir = mkdtempSync(join(resolve(options.dir), 'rafter-bench-'));
  const servers = [];
  const clean = async () => {
    for (const server of servers.splice(0)) await server.stop();
    rmSync(dir, { recursive: true, force: true });
  };
  const interrupted = () => clean().finally(() => process.exit(1));
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
  try {
    const images = await makeImages(dir);
    servers.push(await serveDirectories(images));
    for (const [i, driver] of DRIVERS.entries())
      if (isWanted(driver.name)) servers.push(await serveRafter(images, driver, join(dir, `driver-${i}`)));
    const nydusd = isWanted('nydusd') && (await serveNydusd(images, join(dir, 'nydusd')));
    if (nydusd) servers.push(nydusd);
    for (const job of JOBS) for (const state of ['cold', 'warm']) await benchJob(job, state, servers);
    reportMemory(servers);
  } finally {
    await clean();
  }
}

/** True for what `--only` names, or if it names nothing of this kind. */
function isWanted(name, names = [...DRIVERS.map((driver) => driver.name), 'nydusd']) {
  const words = options.only.filter((word) => names.some((other) => other.includes(word)));
  return words.length === 0 || words.some((word) => name.includes(word));
}

async function makeImages(temporary) {
  const dir = options.keep === undefined ? temporary : resolve(options.keep);
  const large = join(dir, 'large');
  if (!existsSync(large)) await writeLargeLayer(large, Number(options['large-size']));
  return [
    await prepare('image', `oci:${sourceImage()}`, dir),
    await prepare('large', `oci:${large}:large`, dir),
  ];
}

function sourceImage() {
  if (positionals[0] !== undefined) return resolve(positionals[0]);
  const own = join(project, '.cache/images');
  if (existsSync(own)) return `${own}:python`;
  throw new Error('no image: run bin/quickstart first, which builds one, or name a LAYOUT:TAG');
}

async function benchJob(job, state, servers) {
  const jobNames = JOBS.map(({ name }) => name);
  if (!isWanted(job.name, jobNames)) return;
  const best = new Map();
  for (let run = 0; run < Number(options.runs); run++) {
    for (const { name, trees, pids } of servers) {
      const how = { state, pids: Object.values(pids) };
      if (state === 'warm' && run === 0) await runJob(job, trees[job.tree], how);
      const measured = await runJob(job, trees[job.tree], how);
      const known = best.get(name);
      best.set(name, {
        seconds: Math.min(measured.seconds, known?.seconds ?? Number.POSITIVE_INFINITY),
        cpu: Math.min(measured.cpu, known?.cpu ?? Number.POSITIVE_INFINITY),
      });
    }
  }
  const first = best.get(servers[0].name);
  print(
    `\n${job.name}, ${state}`.padEnd(30) +
      ['seconds', 'time', 'CPU s', 'CPU'].map((t) => t.padStart(9)).join(''),
  );
  for (const [name, { seconds, cpu }] of best) {
    const ratios = { timeRatio: seconds / first.seconds, cpuRatio: cpu / first.cpu };
    if (options.json) console.log(JSON.stringify({ job: job.name, state, name, seconds, cpu, ...ratios }));
    const cells = [
      seconds.toFixed(3),
      ratios.timeRatio.toFixed(2),
      cpu.toFixed(2),
      ratios.cpuRatio.toFixed(2),
    ];
    print(`  ${name}`.padEnd(29) + cells.map((cell) => cell.padStart(9)).join(''));
  }
}

function reportMemory(servers) {
  print(`\n${'memory, MB'.padEnd(28)}${['resident', 'anonymous'].map((t) => t.padStart(11)).join('')}`);
  for (const { name, pids } of servers)
    for (const [what, pid] of Object.entries(pids)) {
      const { resident, anonymous } = memoryOf(pid);
      if (options.json)
        console.log(JSON.stringify({ job: 'memory', name, process: what, resident, anonymous }));
      const cells = [resident, anonymous].map((bytes) => (bytes / 1e6).toFixed(0).padStart(11));
      print(`  ${name === what ? name : `${name}: ${what}`}`.padEnd(28) + cells.join(''));
    }
}

function print(line) {
  if (!options.json) console.log(line);
}
