import { createHash } from 'node:crypto';
import { createWriteStream, mkdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';

const MiB = 1 << 20;
/** Bytes of one file of a large layer. */
const LARGE_FILE = 1 << 30;
const FILES_PER_DIRECTORY = 100;
/** Files of a layer of small files have up to so many bytes. */
const MAX_SMALL_FILE = 4096;

/**
 * Writes an OCI layout at `dir` whose image `large` has one layer with `mebibytes` of content that compresses well and repeats
 * no chunk. Neither it nor the next one has a layer in memory.
 * @param {string} dir
 * @param {number} mebibytes
 */
export function writeLargeLayer(dir, mebibytes) {
  return writeLayout(dir, 'large', function* () {
    const block = Buffer.alloc(MiB);
    for (let i = 0; i < MiB; i += 32)
      block.write(`line ${(i * 7919) % 99991} of a large file\n`, i, 'latin1');
    for (let left = mebibytes, file = 0; left > 0; file++) {
      const count = Math.min(left, LARGE_FILE / MiB);
      yield header(`file-${file}`, count * MiB);
      for (let i = 0; i < count; i++) {
        const copy = Buffer.from(block);
        copy.write(`block ${left - i}`, 'latin1');
        yield copy;
      }
      left -= count;
    }
  });
}

/**
 * Writes an OCI layout at `dir` whose image `files` has one layer of `count` small files, each with content of its own.
 * @param {string} dir
 * @param {number} count
 */
export function writeManyFiles(dir, count) {
  return writeLayout(dir, 'files', function* () {
    for (let i = 0; i < count; i++) {
      const size = (i * 2654435761) % MAX_SMALL_FILE;
      const directory = Math.floor(i / FILES_PER_DIRECTORY);
      yield header(`usr/share/directory-${directory}/some-file-${i}.txt`, size);
      const padded = Buffer.alloc(Math.ceil(size / 512) * 512);
      padded.fill(`content of file ${i}, `, 0, size);
      yield padded;
    }
  });
}

/** One ustar header of a file. */
function header(name, size) {
  const block = Buffer.alloc(512);
  const octal = (value, at, length) =>
    block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  block.write(name, 0, 'latin1');
  octal(0o644, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(1_700_000_000, 136, 12);
  block.fill(' ', 148, 156);
  block.write('0', 156, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

async function writeLayout(dir, tag, entries) {
  const blobs = join(dir, 'blobs', 'sha256');
  mkdirSync(blobs, { recursive: true });
  const [tar, stored] = [createHash('sha256'), createHash('sha256')];
  const hashed = (hash) =>
    new PassThrough({ transform: (piece, _, done) => done(null, hash.update(piece) && piece) });
  const path = join(blobs, 'layer');
  await pipeline(
    function* () {
      yield* entries();
      yield Buffer.alloc(1024);
    },
    hashed(tar),
    createGzip({ level: 1, chunkSize: MiB }),
    hashed(stored),
    createWriteStream(path),
  );
  const layer = { digest: `sha256:${stored.digest('hex')}`, size: statSync(path).size };
  renameSync(path, join(blobs, layer.digest.slice(7)));
  const store = (json) => {
    const bytes = Buffer.from(JSON.stringify(json));
    const hex = createHash('sha256').update(bytes).digest('hex');
    writeFileSync(join(blobs, hex), bytes);
    return { digest: `sha256:${hex}`, size: bytes.length };
  };
  const type = (kind) => `application/vnd.oci.image.${kind}`;
  const config = store({
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: [`sha256:${tar.digest('hex')}`] },
  });
  const manifest = store({
    schemaVersion: 2,
    mediaType: type('manifest.v1+json'),
    config: { mediaType: type('config.v1+json'), ...config },
    layers: [{ mediaType: type('layer.v1.tar+gzip'), ...layer }],
  });
  const annotations = { 'org.opencontainers.image.ref.name': tag };
  const manifests = [{ mediaType: type('manifest.v1+json'), ...manifest, annotations }];
  writeFileSync(join(dir, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  writeFileSync(join(dir, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
}
