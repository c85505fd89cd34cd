#!/usr/bin/env node
// Push, pull and copy between registries against skopeo, in the same run, on the loopback and over a wire.
//   node test/bench/registry-copy.mjs OCI_LAYOUT:TAG [--rounds N=3] [--rtt MS=20] [--mbit MEGABITS=200] [--json]
// NODE_EXTRA_CA_CERTS is not handed on: Node.js would read all of those certificates at every start, plain HTTP or not.
// Needs skopeo and docker-registry, and `npm run build` before. Each figure is the median of the rounds.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { measure } from './measure.mjs';
import { startRegistry } from './registry.mjs';
import { startWire } from './start-wire.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '3' },
    rtt: { type: 'string', default: '20' },
    mbit: { type: 'string', default: '200' },
    json: { type: 'boolean', default: false },
  },
});
const [layout] = positionals;
if (layout === undefined) throw new Error('an OCI layout with its tag is needed: DIR:TAG');

const rafter = join(import.meta.dirname, '../../bin/rafter');
const flags = ['--insecure-policy', '--src-tls-verify=false', '--dest-tls-verify=false'];
/** The same copy by either program. */
const programs = {
  rafter: (from, to) => [rafter, 'copy', '--quiet', '--plain-http', from, to],
  skopeo: (from, to) => {
    const name = (reference) => (reference.startsWith('oci:') ? reference : `docker://${reference}`);
    return ['skopeo', 'copy', '--quiet', ...flags, name(from), name(to)];
  },
};

const skopeoCaches = ['/var/lib/containers/cache', join(homedir(), '.local/share/containers/cache')].map(
  (path) => join(path, 'blob-info-cache-v1.boltdb'),
);
const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env;
const dir = mkdtempSync(join(tmpdir(), 'rafter-bench-'));
let count = 0;
const wires = [];
const registries = [];
try {
  for (const name of ['a', 'b']) {
    mkdirSync(join(dir, name));
    registries.push(await startRegistry(join(dir, name)));
  }
  const [near, other] = registries.map(({ host }) => host);
  await measure(programs.skopeo(`oci:${layout}`, `${near}/source:1`));
  const wire = { rtt: Number(values.rtt), mbit: Number(values.mbit) };
  for (const host of [near, other]) wires.push(await startWire(host, wire));
  const [farSource, farTarget] = wires.map(({ host }) => host);
  const rows = [
    ...(await compare('loopback', near, other)),
    ...(await compare(`${values.rtt} ms, ${values.mbit} Mbit/s`, farSource, farTarget)),
  ];
  if (values.json) console.log(JSON.stringify(rows));
  else print(rows);
} finally {
  for (const wire of wires) await wire.stop();
  for (const registry of registries) await registry.stop();
  rmSync(dir, { recursive: true, force: true });
}

/** Push, pull and copy at the registries `source` and `target`, to new names each time. */
async function compare(network, source, target) {
  const fresh = () => `${target}/target-${count++}:1`;
  const kinds = {
    push: () => [`oci:${layout}`, fresh()],
    pull: () => [`${source}/source:1`, `oci:${join(dir, `pulled-${count++}`)}:1`],
    copy: () => [`${source}/source:1`, fresh()],
  };
  const rows = [];
  for (const [kind, place] of Object.entries(kinds)) {
    const results = { rafter: [], skopeo: [] };
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const program of Object.keys(programs)) {
        // What skopeo remembers of blobs in other repositories would let it mount instead of push.
        for (const cache of skopeoCaches) rmSync(cache, { force: true });
        results[program].push(await measure(programs[program](...place()), env));
      }
    }
    rows.push({ network, kind, rafter: median(results.rafter), skopeo: median(results.skopeo) });
  }
  return rows;
}

function median(results) {
  const middle = (key) => results.map((one) => one[key]).sort((a, b) => a - b)[results.length >> 1];
  return { seconds: middle('seconds'), cpu: middle('cpu'), peakRss: middle('peakRss') };
}

function print(rows) {
  // The ratios are rafter's part of skopeo's: wall time, and CPU seconds, which other work on the machine disturbs less.
  console.log(
    'network                op    rafter s  skopeo s  ratio  rafter cpu  skopeo cpu  ratio  rafter MB  skopeo MB',
  );
  for (const { network, kind, rafter: ours, skopeo } of rows) {
    const cells = [
      network.padEnd(22),
      kind.padEnd(5),
      ours.seconds.toFixed(2).padStart(8),
      skopeo.seconds.toFixed(2).padStart(9),
      (ours.seconds / skopeo.seconds).toFixed(2).padStart(6),
      ours.cpu.toFixed(2).padStart(11),
      skopeo.cpu.toFixed(2).padStart(11),
      (ours.cpu / skopeo.cpu).toFixed(2).padStart(6),
      (ours.peakRss / 1e6).toFixed(0).padStart(10),
      (skopeo.peakRss / 1e6).toFixed(0).padStart(10),
    ];
    console.log(cells.join(' '));
  }
}
