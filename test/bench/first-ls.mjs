import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, mkdirSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { splitImage } from './images.mjs';
import { runRafter } from './mount-trees.mjs';
import { startWire } from './start-wire.mjs';

/** Milliseconds of a round trip: long beside everything else that happens. */
export const RTT = 200;

/**
 * Mounts an image of a layout from a registry at the other end of a long wire and lists all of it; nothing is on this machine before.
 * @param {string} converted `oci:LAYOUT:TAG`
 * @param {string[]} flags of `rafter mount`
 * @param {{ dir: string, runs: number }} options
 * @returns {Promise<{ roundTrips: number, seconds: number }>} from the arrival of the bootstrap to the end of `ls -lR`: requests that
 *   the registry got, each of which costs one round trip at most; and seconds, of the quickest run
 */
export async function measureFirstLs(converted, flags, { dir, runs }) {
  const { layout, tag } = splitImage(converted.slice('oci:'.length));
  let best;
  for (let run = 0; run < runs; run++) {
    const measured = await listOnce({ layout, tag, flags, dir: join(dir, String(run)) });
    const roundTrips = Math.max(measured.roundTrips, best?.roundTrips ?? 0);
    best = { roundTrips, seconds: Math.min(measured.seconds, best?.seconds ?? Number.POSITIVE_INFINITY) };
  }
  return best;
}

async function listOnce({ layout, tag, flags, dir }) {
  const registry = await serveLayout(layout, tag);
  const wire = await startWire(registry.host, { rtt: RTT, mbit: 0 });
  const tree = join(dir, 'mnt');
  mkdirSync(tree, { recursive: true });
  try {
    await runRafter(dir, 'mount', ...flags, '--no-prefetch', `${wire.host}/image:${tag}`, tree);
    await promisify(execFile)('sh', ['-c', 'ls -lR "$1" >/dev/null', 'sh', tree]);
    const seconds = (performance.now() - registry.bootstrapAt() - RTT / 2) / 1000;
    return { roundTrips: registry.later(), seconds };
  } finally {
    await runRafter(dir, 'daemon stop');
    await wire.stop();
    await registry.stop();
  }
}

/** A registry that has one image of a layout, and knows when its bootstrap was sent and what was asked for after that. */
async function serveLayout(layout, tag) {
  const fileOf = (digest) => join(layout, 'blobs', digest.replace(':', '/'));
  const json = (path) => JSON.parse(readFileSync(path, 'utf8'));
  const { manifests } = json(join(layout, 'index.json'));
  const named = manifests.find((item) => item.annotations['org.opencontainers.image.ref.name'] === tag);
  const { config, layers } = json(fileOf(named.digest));
  const bootstrap = layers.at(-1).digest;
  let sentAt;
  let later = 0;
  const server = createServer((request, response) => {
    const [, kind, name] = /^\/v2\/image\/(manifests|blobs)\/([^?]+)/.exec(request.url) ?? [];
    if (kind === undefined) return response.end('{}');
    const digest = name === tag ? named.digest : name;
    // The configuration is asked for beside the bootstrap.
    if (sentAt !== undefined && digest !== config.digest) later++;
    const { size } = statSync(fileOf(digest));
    const [, from = 0, to = size - 1] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    response.writeHead(request.headers.range ? 206 : 200, {
      'content-type': kind === 'manifests' ? named.mediaType : 'application/octet-stream',
      'content-length': Number(to) - Number(from) + 1,
      'docker-content-digest': digest,
      ...(request.headers.range && { 'content-range': `bytes ${from}-${to}/${size}` }),
    });
    if (request.method === 'HEAD') return response.end();
    if (digest === bootstrap)
      response.once('finish', () => {
        sentAt ??= performance.now();
      });
    createReadStream(fileOf(digest), { start: Number(from), end: Number(to) }).pipe(response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `127.0.0.1:${server.address().port}`,
    bootstrapAt: () => sentAt,
    later: () => later,
    async stop() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
