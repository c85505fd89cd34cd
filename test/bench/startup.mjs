import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { budgetOf, formatBudget } from './budget.mjs';
import { withCommand } from './command-image.mjs';
import { readCommandLine } from './command-line.mjs';
import { compare, median, printComparison } from './comparison.mjs';
import { builtImage, splitImage } from './images.mjs';
import { startRegistry } from './registry.mjs';
import { startOnce } from './start-once.mjs';
import { startWire } from './start-wire.mjs';
import { containerd } from './startup-containerd.mjs';
import { nydusd } from './startup-nydusd.mjs';
import { rafterOptimized, rafterPlain } from './startup-rafter.mjs';
import { withWorkspace } from './workspace.mjs';

const USAGE = `usage: npm run bench:startup -- [OPTIONS] [LAYOUT:TAG...]

Starts a container of each image with nothing of it on this machine, and measures the seconds from the command to its first line and
the bytes that went over the wire until then: pulled, unpacked and run by containerd; by rafter, converted and optimized with a
trace of one run; and, if RAFTER_PEERS names a folder with them, converted by nydusify and served by nydusd. All of them in one run,
over a slow wire and over one as fast as the loopback; each takes turns, and the median counts. Needs root, docker-registry,
containerd and runc. Then rafter starts as often again and tells how long each step took. The image's own command must print a line. No container has a seccomp profile. Without LAYOUT:TAG, the image
that quickstart builds.

  --rtt <ms>      round trip of the slow wire (default 20)
  --mbit <n>      its megabits per second (default 200)
  --rounds <n>    how often each is started (default 3)
  --read-all      the container reads every file of the image before its line: never slower than a pull?
  --only <word>   only those whose name has this word, besides containerd and rafter; may be repeated
  --json          a line of JSON for each image and wire`;

const { options, named } = readCommandLine(USAGE, {
  rtt: '20',
  mbit: '200',
  rounds: '3',
  'read-all': false,
  only: [],
  json: false,
});
/** What the container runs that reads everything. */
const READ_ALL = ['/bin/sh', '-c', 'find / -xdev -type f -exec cat {} + | wc -c'];

await bench();

/**
 * A way to start containers. `prepare` brings the image `layout`:`tag` into the registry `host` as this way wants it and
 * resolves to what `start` needs, or to nothing if this way is not here. `start` runs a container of it, from a registry that
 * is reached at `host`, with nothing but the empty directory `dir`; it calls `begin` when its daemon is up and the clock is to
 * start, `ready` at the first line, and leaves nothing. With `peer`, the URL of a Dragonfly peer, blobs are read through that, by ways that
 * can. Our ways tell `onSteps`, if it is there, what the start consisted of.
 * @typedef {object} Way
 * @property {string} name
 * @property {boolean} [ours] it is rafter
 * @property {(image: { layout: string, tag: string, host: string, dir: string }) => Promise<unknown>} prepare
 * @property {(prepared: any, where: { host: string, dir: string, peer?: string, begin: () => Promise<void>, ready: () => void, onSteps?: (steps: import('./budget.mjs').Step[]) => void }) => Promise<void>} start
 */

function bench() {
  return withWorkspace(async (dir, later) => {
    const registry = await startRegistry(dir);
    later(() => registry.stop());
    const wires = [
      {
        name: `${options.rtt} ms, ${options.mbit} Mbit/s`,
        rtt: Number(options.rtt),
        mbit: Number(options.mbit),
      },
      { name: 'as fast as the loopback', rtt: 0, mbit: 0 },
    ];
    for (const wire of wires) {
      wire.link = await startWire(registry.host, wire);
      later(() => wire.link.stop());
    }
    const images = named.length > 0 ? named : [builtImage()];
    for (const image of images) await benchImage(image, { registry, wires, dir });
  });
}

async function benchImage(image, { registry, wires, dir }) {
  const named = splitImage(image);
  const { layout, tag } = options['read-all']
    ? withCommand(named, READ_ALL, join(dir, `read-all-${named.tag}`))
    : named;
  const ways = [];
  const more = [rafterOptimized, ...nydusd].filter(({ name }) => isWanted(name));
  for (const way of [containerd, rafterPlain, ...more]) {
    const place = join(dir, `prepare-${ways.length}-${tag}`);
    mkdirSync(place);
    const prepared = await way.prepare({ layout, tag, host: registry.host, dir: place });
    if (prepared !== undefined) ways.push({ way, prepared });
  }
  for (const { name, link } of wires) {
    const results = new Map(ways.map(({ way }) => [way.name, []]));
    for (let round = 0; round < Number(options.rounds); round++)
      for (const { way, prepared } of ways)
        results.get(way.name).push(await startOnce(way, prepared, { link, dir }));
    const budgets = new Map();
    for (const { way, prepared } of ways.filter((one) => one.way.ours))
      budgets.set(way.name, await measureSteps(way, prepared, { link, dir }));
    report(`${tag}${options['read-all'] ? ', all of it read' : ''}, ${name}`, ways, { results, budgets });
  }
}

/** Apart from the starts that are compared: a start that is watched takes longer. */
async function measureSteps(way, prepared, where) {
  const starts = [];
  for (let round = 0; round < Number(options.rounds); round++)
    await startOnce(way, prepared, { ...where, onSteps: (steps) => starts.push(steps) });
  return budgetOf(starts);
}

function isWanted(name) {
  return options.only.length === 0 || options.only.some((word) => name.includes(word));
}

function report(title, ways, { results, budgets }) {
  const rows = ways.map(({ way: { name, ours = false } }) => {
    const middle = (key) => median(results.get(name).map((run) => run[key]));
    return { name, ours, figures: { seconds: middle('seconds'), bytes: middle('bytes') } };
  });
  const comparison = compare({ title, reference: rows[0].name, rows });
  for (const row of comparison.rows) if (budgets.has(row.name)) row.steps = budgets.get(row.name);
  printComparison(comparison, options);
  if (options.json) return;
  for (const [name, steps] of budgets) console.log(`\n${formatBudget(`  ${name}`, steps)}`);
}
