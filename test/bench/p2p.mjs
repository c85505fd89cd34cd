import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { readCommandLine } from './command-line.mjs';
import { compare, median, printComparison } from './comparison.mjs';
import { startDragonfly } from './dragonfly.mjs';
import { builtImage, splitImage } from './images.mjs';
import { peer } from './nydusd.mjs';
import { startRegistry } from './registry.mjs';
import { startOnce } from './start-once.mjs';
import { startWire } from './start-wire.mjs';
import { containerd } from './startup-containerd.mjs';
import { nydusd } from './startup-nydusd.mjs';
import { rafterOptimized } from './startup-rafter.mjs';
import { withWorkspace } from './workspace.mjs';

const USAGE = `usage: npm run bench:p2p -- [OPTIONS] [LAYOUT:TAG...]

Starts a container of each image with nothing of it on this machine, over a slow wire to the registry: directly, through a Dragonfly
cluster that has nothing of it, and through a peer that has read it once. By rafter, converted and optimized with a trace of one run,
and by nydusd, converted by nydusify, which gets clusters of its own. Measures the seconds to the first line and the bytes that came from the
registry until then; the median counts. RAFTER_PEERS names a folder with dfdaemon, scheduler, nydusd, nydusify and nydus-image. Needs
root, docker-registry and runc. Without LAYOUT:TAG, the image that quickstart builds. Without --json, ends with exit code 1 if an
aim is missed.

  --rtt <ms>      round trip of the wire (default 20)
  --mbit <n>      its megabits per second (default 200)
  --rounds <n>    how often each is started (default 3)
  --json          a line of JSON for each image`;

const { options, named } = readCommandLine(USAGE, {
  rtt: '20',
  mbit: '200',
  rounds: '3',
  json: false,
});
const [nydus] = nydusd;
await bench();

function bench() {
  const programs = { scheduler: peer('scheduler'), dfdaemon: peer('dfdaemon') };
  if (programs.scheduler === undefined || programs.dfdaemon === undefined)
    throw new Error('RAFTER_PEERS must name a folder with scheduler and dfdaemon');
  return withWorkspace(async (dir, later) => {
    const registry = await startRegistry(dir);
    later(() => registry.stop());
    const link = await startWire(registry.host, { rtt: Number(options.rtt), mbit: Number(options.mbit) });
    later(() => link.stop());
    const images = named.length > 0 ? named : [builtImage()];
    for (const image of images) await benchImage(image, { registry, link, programs, dir, later });
  });
}

async function benchImage(image, { registry, link, programs, dir, later }) {
  const { layout, tag } = splitImage(image);
  const ways = [];
  for (const way of [containerd, rafterOptimized, nydus]) {
    const place = join(dir, `prepare-${ways.length}-${tag}`);
    mkdirSync(place);
    const prepared = await way.prepare({ layout, tag, host: registry.host, dir: place });
    if (prepared !== undefined) ways.push({ way, prepared });
  }
  // What containerd prepared is what nydusify converts.
  ways.shift();
  const runs = new Map();
  const note = (name, run) => runs.set(name, [...(runs.get(name) ?? []), run]);
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const { way, prepared } of ways) {
      note(`${way.name}, direct`, await startOnce(way, prepared, { link, dir }));
      const cluster = await startDragonfly(programs, `http://${link.host}`);
      later(() => cluster.stop());
      const [url] = cluster.urls;
      note(`${way.name}, cold cluster`, await startOnce(way, prepared, { link, dir, peer: url }));
      note(`${way.name}, warm peer`, await startOnce(way, prepared, { link, dir, peer: url }));
      await cluster.stop();
    }
  }
  const { prepared } = ways[0];
  report(
    `${tag}, ${options.rtt} ms, ${options.mbit} Mbit/s`,
    runs,
    await metadataBytes(registry.host, prepared),
  );
}

/** Bytes of manifest, configuration and bootstrap of the image `name` (REPOSITORY:TAG). */
async function metadataBytes(host, name) {
  const [repository, tag] = name.split(':');
  const accept = 'application/vnd.oci.image.manifest.v1+json';
  const answer = await fetch(`http://${host}/v2/${repository}/manifests/${tag}`, { headers: { accept } });
  const text = await answer.text();
  const { config, layers } = JSON.parse(text);
  return text.length + config.size + layers.at(-1).size;
}

/** A table of the medians, and what is aimed at. */
function report(title, runs, metadata) {
  const rows = [...runs].map(([name, all]) => {
    const middle = (key) => median(all.map((run) => run[key]));
    const figures = { seconds: middle('seconds'), bytes: middle('bytes') };
    return { name, ours: name.startsWith('rafter'), figures };
  });
  const of = (way, state, key) => rows.find(({ name }) => name === `${way.name}, ${state}`)?.figures[key];
  const ours = (state, key) => of(rafterOptimized, state, key);
  const aims = [
    {
      aim: 'cold cluster, seconds : direct',
      most: 1.15,
      ratio: ours('cold cluster', 'seconds') / ours('direct', 'seconds'),
    },
    {
      aim: 'cold cluster, bytes : direct',
      most: 1.3,
      ratio: ours('cold cluster', 'bytes') / ours('direct', 'bytes'),
    },
    // Heads of answers, and the byte that dfdaemon asks for to know the size of a blob.
    {
      aim: 'warm peer, bytes : manifest and bootstrap',
      most: 1.05,
      ratio: ours('warm peer', 'bytes') / metadata,
    },
    {
      aim: 'warm peer, seconds : nydusd',
      most: 0.8,
      ratio: ours('warm peer', 'seconds') / of(nydus, 'warm peer', 'seconds'),
    },
  ].filter(({ ratio }) => !Number.isNaN(ratio));
  printComparison(
    {
      ...compare({ title, reference: `${rafterOptimized.name}, direct`, rows }),
      ...(options.json && { aims }),
    },
    options,
  );
  if (options.json) return;
  for (const { aim, most, ratio } of aims)
    console.log(`  ${aim}: ${ratio.toFixed(2)}, at most ${most}${ratio <= most ? '' : '  MISSED'}`);
  if (aims.some(({ most, ratio }) => ratio > most)) process.exitCode = 1;
}
