import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { readCommandLine } from './command-line.mjs';
import { compare, printComparison } from './comparison.mjs';
import { measureFirstLs, RTT } from './first-ls.mjs';
import { builtImage, splitImage } from './images.mjs';
import { JOBS, memoryOf, runJob } from './mount-jobs.mjs';
import { prepare, serveDirectories, serveNydusd, serveRafter } from './mount-trees.mjs';
import { writeLargeLayer } from './synthetic.mjs';
import { withWorkspace } from './workspace.mjs';

const USAGE = `usage: npm run bench:mount -- [OPTIONS] [LAYOUT:TAG]

Reads a mounted image, whose data is local, through every driver, next to the same tree unpacked in a directory and, if
RAFTER_PEERS names a folder with nydusd, mounted by that: a walk, a tar, random and sequential reads of one large file.
Cold (page cache dropped) and warm; seconds, CPU seconds of reader and daemon, and both as ratios to the directory's. Drivers take
turns, and the quickest of the runs counts. Before that, what the first \`ls -lR\` of a fresh mount waits for at
the far end of a long wire, from the moment when the bootstrap is here. Needs root. Without LAYOUT:TAG, the image that quickstart builds.

  --dir <path>         where everything is written: a directory of the disk to compare with (default: a temporary one)
  --keep <path>        keep the images here, converted and unpacked, and take them from here the next time
  --large-size <MiB>   size of the large file (default 256)
  --runs <n>           how often each is read (default 3)
  --only <word>        only the drivers and jobs whose name has this word, besides the directory; may be repeated
  --json               a line of JSON for each job`;

/** How the images are mounted by rafter. */
const DRIVERS = [
  { name: 'erofs', flags: ['--driver', 'erofs'] },
  { name: 'erofs, first mount', flags: ['--driver', 'erofs'], first: true },
  { name: 'fuse', flags: ['--driver', 'fuse', '--transport', 'device'] },
  { name: 'fuse, libfuse', flags: ['--driver', 'fuse', '--transport', 'libfuse'] },
];

const FIRST_LS = 'first ls';

const { options, named } = readCommandLine(USAGE, {
  dir: tmpdir(),
  'large-size': '256',
  keep: undefined,
  runs: '3',
  only: [],
  json: false,
});
await bench();

function bench() {
  return withWorkspace(async (dir, later) => {
    const servers = [];
    const add = (server) => {
      later(() => server.stop());
      servers.push(server);
    };
    const images = await makeImages(dir);
    await benchFirstLs(images[0], dir);
    const jobs = JOBS.filter(({ name }) => isWantedJob(name));
    if (jobs.length === 0) return;
    add(await serveDirectories(images));
    for (const [i, driver] of DRIVERS.entries())
      if (isWanted(driver.name)) add(await serveRafter(images, driver, join(dir, `driver-${i}`)));
    const nydusd = isWanted('nydusd') && (await serveNydusd(images, join(dir, 'nydusd')));
    if (nydusd) add(nydusd);
    for (const job of jobs) for (const state of ['cold', 'warm']) await benchJob(job, state, servers);
    printComparison(compare({ title: 'memory, both images mounted', rows: memoryRows(servers) }), options);
  }, resolve(options.dir));
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
  return [await prepare('image', sourceImage(), dir), await prepare('large', `oci:${large}:large`, dir)];
}

function sourceImage() {
  const { layout, tag } = splitImage(named[0] ?? builtImage());
  return `oci:${layout}:${tag}`;
}

function isWantedJob(name) {
  return isWanted(name, [...JOBS.map((job) => job.name), FIRST_LS]);
}

/** How long the first listing of a mount waits for the registry after the bootstrap has come. */
async function benchFirstLs({ converted }, dir) {
  if (!isWantedJob(FIRST_LS)) return;
  const rows = [];
  for (const { name, flags } of DRIVERS.filter(({ first, name }) => !first && isWanted(name))) {
    const where = join(dir, `first-ls-${rows.length}`);
    const figures = await measureFirstLs(converted, flags, { dir: where, runs: Number(options.runs) });
    rows.push({ name, ours: true, figures });
  }
  const title = `${FIRST_LS} of a fresh mount, from the bootstrap's arrival, round trips of ${RTT} ms`;
  if (rows.length > 0) printComparison(compare({ title, rows }), options);
}

async function benchJob(job, state, servers) {
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
  const rows = servers.map(({ name, ours }) => ({ name, ours, figures: best.get(name) }));
  printComparison(compare({ title: `${job.name}, ${state}`, reference: servers[0].name, rows }), options);
}

/** The resident memory of each process that serves. */
function memoryRows(servers) {
  return servers.flatMap(({ name, ours, pids }) =>
    Object.entries(pids).map(([what, pid]) => ({
      name: what.startsWith(name) ? what : `${name}: ${what}`,
      ours,
      figures: memoryOf(pid),
    })),
  );
}
