import { mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readCommandLine } from './command-line.mjs';
import { compare, printComparison } from './comparison.mjs';
import { startDragonfly } from './dragonfly.mjs';
import { builtImage, splitImage } from './images.mjs';
import { peer } from './nydusd.mjs';
import { startRegistry } from './registry.mjs';
import { simulate } from './scale-model.mjs';
import { requestsOf, startRecorder } from './scale-record.mjs';
import { rafterOptimized, rafterPlain } from './startup-rafter.mjs';
import { withWorkspace } from './workspace.mjs';

const USAGE = `usage: npm run bench:scale -- [OPTIONS] [LAYOUT:TAG]

Says what a start of the same image on many nodes asks of the registry, of Dragonfly's seed peers and of its scheduler. Starts a
container of the image, converted, and again, optimized with a trace of that, directly and through a stand-in for a peer; records what it asks
for until its first line, and replays that for all nodes in a model of Dragonfly's rules of pieces and parents. Needs root,
docker-registry and runc. Without LAYOUT:TAG, the image that quickstart builds.

  --nodes <n>           nodes that start it (default 1000)
  --spread <s>          seconds in which they all begin (default 10)
  --seeds <n>           seed peers (default 3)
  --registry-mbit <n>   megabits per second of the registry (default 10000)
  --node-mbit <n>       and of each node, seed peers included (default 1000)
  --rtt <ms>            round trip to the registry (default 1)
  --check               replay three nodes, one after the other, through a real cluster instead, and print what the registry was asked for
                        next to what the model says; RAFTER_PEERS names a folder with dfdaemon and scheduler
  --json                a line of JSON for each form of the image`;

const { options, named } = readCommandLine(USAGE, {
  nodes: '1000',
  spread: '10',
  seeds: '3',
  'registry-mbit': '10000',
  'node-mbit': '1000',
  rtt: '1',
  check: false,
  json: false,
});
const CHECKED_NODES = 3;
const rate = (mbit) => (Number(mbit) * 1e6) / 8;
await bench();

function bench() {
  return withWorkspace(async (dir, later) => {
    const registry = await startRegistry(dir);
    later(() => registry.stop());
    const recorder = await startRecorder(registry.host);
    later(() => recorder.stop());
    const { layout, tag } = splitImage(named[0] ?? builtImage());
    for (const [index, way] of [rafterPlain, rafterOptimized].entries()) {
      const place = join(dir, `prepare-${index}`);
      mkdirSync(place);
      const prepared = await way.prepare({ layout, tag, host: registry.host, dir: place });
      const through = await record(way, prepared, { recorder, dir, peer: `http://${recorder.host}` });
      const title = `${tag}, ${way.name}`;
      if (options.check) await check(title, through, { registry, later });
      else report(title, { through, direct: await record(way, prepared, { recorder, dir }) });
    }
  });
}

/** The requests of one start until its first line. */
async function record(way, prepared, { recorder, dir, peer: url }) {
  let began;
  let ready;
  recorder.take();
  await way.start(prepared, {
    host: recorder.host,
    dir: mkdtempSync(join(dir, 'start-')),
    peer: url,
    begin: async () => {
      recorder.take();
      began = performance.now() / 1000;
    },
    ready: () => {
      ready ??= performance.now() / 1000;
    },
  });
  const seen = recorder.take().filter(({ begin }) => begin <= ready);
  return { seen, ...requestsOf(seen, began, ready) };
}

function report(title, { direct, through }) {
  const cluster = {
    nodes: Number(options.nodes),
    seeds: Number(options.seeds),
    spread: Number(options.spread),
    rates: {
      registry: rate(options['registry-mbit']),
      seed: rate(options['node-mbit']),
      node: rate(options['node-mbit']),
    },
    rtt: Number(options.rtt) / 1000,
  };
  const forms = {
    'registry only': { recorded: direct, hasPeers: false },
    'through peers': { recorded: through, hasPeers: true },
    'through peers, preheated': { recorded: through, hasPeers: true, isPreheated: true },
  };
  const rows = Object.entries(forms).map(([name, { recorded, ...form }]) => {
    const { readyAfter, readyGap } = recorded;
    const { median, slowest, requests, bytes, fromSeeds, fromPeers, registrations, kept } = simulate(
      recorded.requests,
      { ...cluster, ...form, readyAfter, readyGap },
    );
    const figures = { seconds: median, slowest, bytes, requests, fromSeeds, fromPeers, kept, registrations };
    return { name, ours: true, figures };
  });
  const { nodes, spread, seeds } = cluster;
  const where = `${nodes} nodes in ${spread} s, ${seeds} seed peers`;
  printComparison(compare({ title: `${title}: ${where}`, rows }), options);
}

/** Replays nodes in a real cluster and in the model. */
async function check(title, { seen, requests, readyAfter, readyGap }, { registry, later }) {
  const programs = { scheduler: peer('scheduler'), dfdaemon: peer('dfdaemon') };
  if (programs.scheduler === undefined || programs.dfdaemon === undefined)
    throw new Error('RAFTER_PEERS must name a folder with scheduler and dfdaemon');
  const counter = await startRecorder(registry.host);
  later(() => counter.stop());
  const cluster = await startDragonfly(programs, `http://${counter.host}`, { peers: CHECKED_NODES });
  later(() => cluster.stop());
  const rows = [];
  // Each node's requests come when those of the node before have been answered.
  const rates = { registry: 1e12, seed: 1e12, node: 1e12 };
  const model = (nodes) =>
    simulate(requests, { nodes, hasPeers: true, rates, rtt: 0, retry: 0, readyAfter, readyGap });
  for (const [index, url] of cluster.urls.entries()) {
    counter.take();
    await replay(seen, { url, host: counter.host });
    const asked = counter.take();
    const [before, after] = [index, index + 1].map((nodes) => (nodes === 0 ? undefined : model(nodes)));
    const real = { requests: asked.length, bytes: asked.reduce((sum, { length }) => sum + length, 0) };
    const expected = {
      requests: after.requests - (before?.requests ?? 0),
      bytes: after.bytes - (before?.bytes ?? 0),
    };
    rows.push({ name: `node ${index + 1}, model`, ours: true, figures: expected });
    rows.push({ name: `node ${index + 1}, cluster`, ours: false, figures: real });
  }
  for (const [name, pid] of Object.entries(cluster.pids))
    rows.push({ name, ours: false, figures: { resident: residentOf(pid) } });
  printComparison(compare({ title: `${title}: what the registry was asked for`, rows }), options);
  await cluster.stop();
}

/** Asks as one node does, one request after the other. */
async function replay(seen, { url, host }) {
  for (const { path, headers, isForPeer } of seen.toSorted((a, b) => a.begin - b.begin)) {
    const kept = Object.entries(headers).filter(([name]) => /^(x-dragonfly-|accept$|range$)/.test(name));
    const registry = `http://${host}`;
    const answer = await fetch(`${isForPeer ? url : registry}${path}`, {
      headers: { ...Object.fromEntries(kept), ...(isForPeer && { 'x-dragonfly-registry': registry }) },
    });
    if (!answer.ok) throw new Error(`${path}: status ${answer.status}`);
    await answer.arrayBuffer();
  }
}

/** Resident bytes of a process. */
function residentOf(pid) {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(kib) * 1024;
}
