import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

const SMALL_FILES = 120;
const MAX_SMALL_FILE = 200_000;
const LARGE_FILE = 12 << 20;

/** A generator of numbers in [0, 1) that a seed decides (mulberry32). */
export function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Writes a tree at `dir` with bytes that `seed` decides, and a program to execute. */
export function writeTree(dir, seed) {
  const random = randomFrom(seed);
  mkdirSync(join(dir, 'bin'), { recursive: true });
  mkdirSync(join(dir, 'data'), { recursive: true });
  copyFileSync('/bin/cat', join(dir, 'bin/cat'));
  chmodSync(join(dir, 'bin/cat'), 0o755);
  for (let i = 0; i < SMALL_FILES; i++)
    writeFileSync(join(dir, `data/small-${i}`), bytes(random, Math.floor(random() ** 3 * MAX_SMALL_FILE)));
  writeFileSync(join(dir, 'data/large'), bytes(random, LARGE_FILE));
}

function bytes(random, size) {
  const buffer = Buffer.alloc(Math.ceil(size / 4) * 4);
  // Half of the bits are the same: it compresses a little.
  for (let at = 0; at < buffer.length; at += 4) buffer.writeUInt32LE((random() * 0xffff) >>> 0, at);
  return buffer.subarray(0, size);
}

/** Writes an OCI layout at `dir` whose image `latest` has the tree at `tree` as its one layer. */
export function writeLayout(dir, tree) {
  const blobs = join(dir, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const put = (mediaType, path) => {
    const hash = createHash('sha256').update(readFileSync(path)).digest('hex');
    const { size } = statSync(path);
    renameSync(path, join(blobs, hash));
    return { mediaType, digest: `sha256:${hash}`, size };
  };
  const putJson = (mediaType, value) => {
    const path = join(dir, 'json');
    writeFileSync(path, JSON.stringify(value));
    return put(mediaType, path);
  };
  const tar = join(dir, 'layer.tar');
  execFileSync('tar', ['--numeric-owner', '--sort=name', '-C', tree, '-cf', tar, '.']);
  const layer = put('application/vnd.oci.image.layer.v1.tar', tar);
  const architecture = { x64: 'amd64' }[process.arch] ?? process.arch;
  const config = putJson('application/vnd.oci.image.config.v1+json', {
    architecture,
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: [layer.digest] },
  });
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = putJson(mediaType, { schemaVersion: 2, mediaType, config, layers: [layer] });
  const annotations = { 'org.opencontainers.image.ref.name': 'latest' };
  const index = { schemaVersion: 2, manifests: [{ ...manifest, annotations }] };
  writeFileSync(join(dir, 'index.json'), JSON.stringify(index));
  writeFileSync(join(dir, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
}
