import { mkdirSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { readCommandLine } from './command-line.mjs';
import { compare, median, printComparison } from './comparison.mjs';
import { builtImage, rafter, splitImage } from './images.mjs';
import { measure } from './measure.mjs';
import { startRegistry } from './registry.mjs';
import { startWire } from './start-wire.mjs';
import { withWorkspace } from './workspace.mjs';

const USAGE = `usage: npm run bench:registry -- [OPTIONS] [LAYOUT:TAG]

Pushes an image to a registry, pulls it, and copies it to another registry, with rafter and with skopeo in turns, on the loopback and
over a slow wire. The median counts. Needs skopeo and docker-registry. Without LAYOUT:TAG, the image that quickstart builds.

  --rounds <n>    how often each is done (default 3)
  --rtt <ms>      round trip of the slow wire (default 20)
  --mbit <n>      its megabits per second (default 200)
  --json          a line of JSON for each operation`;

const { options, named } = readCommandLine(USAGE, {
  rounds: '3',
  rtt: '20',
  mbit: '200',
  json: false,
});

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
/** Without the certificates of the machine: Node.js would read all of them at every start, plain HTTP or not. */
const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env;

await withWorkspace(bench);

async function bench(dir, later) {
  const { layout, tag } = splitImage(named[0] ?? builtImage());
  const image = `oci:${layout}:${tag}`;
  const hosts = { near: [], far: [] };
  for (const name of ['a', 'b']) {
    mkdirSync(join(dir, name));
    const registry = await startRegistry(join(dir, name));
    later(() => registry.stop());
    const wire = await startWire(registry.host, { rtt: Number(options.rtt), mbit: Number(options.mbit) });
    later(() => wire.stop());
    hosts.near.push(registry.host);
    hosts.far.push(wire.host);
  }
  await measure(programs.skopeo(image, `${hosts.near[0]}/source:1`), env);
  await benchNetwork('loopback', { image, dir, hosts: hosts.near });
  await benchNetwork(`${options.rtt} ms, ${options.mbit} Mbit/s`, { image, dir, hosts: hosts.far });
}

/** Push, pull and copy at two registries, to new names each time. */
async function benchNetwork(network, { image, dir, hosts: [source, target] }) {
  let count = 0;
  const fresh = () => `${target}/${network.replace(/\W+/g, '-').toLowerCase()}-${count++}:1`;
  const kinds = {
    push: () => [image, fresh()],
    pull: () => [`${source}/source:1`, `oci:${join(dir, `pulled-${count++}`)}:1`],
    copy: () => [`${source}/source:1`, fresh()],
  };
  for (const [kind, place] of Object.entries(kinds)) {
    const results = { rafter: [], skopeo: [] };
    for (let round = 0; round < Number(options.rounds); round++) {
      for (const program of Object.keys(programs)) {
        // What skopeo remembers of blobs in other repositories would let it mount instead of push.
        for (const cache of skopeoCaches) rmSync(cache, { force: true });
        const [from, to] = place();
        results[program].push(await measure(programs[program](from, to), env));
        if (kind === 'pull') rmSync(to.slice('oci:'.length, -':1'.length), { recursive: true });
      }
    }
    const rows = Object.entries(results).map(([name, runs]) => {
      const middle = (key) => median(runs.map((run) => run[key]));
      const figures = { seconds: middle('seconds'), cpu: middle('cpu'), peakRss: middle('peakRss') };
      return { name, ours: name === 'rafter', figures };
    });
    printComparison(compare({ title: `${kind}, ${network}`, reference: 'skopeo', rows }), options);
  }
}
