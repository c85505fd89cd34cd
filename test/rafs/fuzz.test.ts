import { describe, expect, test, vi } from 'vitest';
import { layoutOf } from '../../src/cache/layout.js';
import { decodeUnit, unitOf } from '../../src/cache/unit.js';
import { decompress } from '../../src/codec/compressor.js';
import { inflateSlice } from '../../src/codec/inflate-slice.js';
import { RafterError } from '../../src/errors.js';
import { BlobMeta } from '../../src/rafs/blob-meta.js';
import { checkChunks } from '../../src/rafs/blob-meta-check.js';
import { parseBootstrap, type RafsBlob } from '../../src/rafs/bootstrap.js';
import { areSoundChunks } from '../../src/rafs/sound-chunks.js';
import { decodeInlineBootstrap, findInlineBootstrap, TOC_TAIL_SIZE } from '../../src/rafs/toc.js';
import { walk } from '../../src/rafs/walk.js';
import { fuzzRounds, fuzzSeeds } from '../support/fuzz.js';
import { overwrite, placesOf, random } from '../support/mutate.js';
import { golden } from './golden.js';

// Much computing: seconds on an idle machine, more on a busy one.
vi.setConfig({ testTimeout: fuzzRounds(60_000) });

/** Runs `read`; true if it ended in a RafterError with a one-line message, false if it ended well. */
function endsInError(read: () => void, seed: string): boolean {
  try {
    read();
    return false;
  } catch (error) {
    if (!(error instanceof RafterError)) throw new Error(`${seed}: ${String(error)}`, { cause: error });
    expect(['MALFORMED', 'LIMIT_EXCEEDED', 'UNSUPPORTED', 'NOT_FOUND', 'DIGEST_MISMATCH']).toContain(
      error.code,
    );
    return true;
  }
}

/** Touches everything that a bootstrap can be asked for. */
function readAll(bytes: Buffer): void {
  const bootstrap = parseBootstrap(bytes, 'fuzz');
  let names = 0;
  for (const { inode } of walk(bootstrap)) {
    if (names++ > 10_000) throw new Error('more names than the file can hold');
    bootstrap.xattrs(inode);
    if (inode.type === 'symlink') bootstrap.readlink(inode);
    if (inode.type === 'dir') bootstrap.lookup(inode, Buffer.from('text-100'));
    for (let k = 0; k < inode.chunkCount; k++) {
      const { blobIndex, chunkIndex } = bootstrap.chunkAt(inode, k);
      bootstrap.chunkDigest(blobIndex, chunkIndex);
    }
  }
}

test.each([
  ['v6/small.boot', 1000],
  ['v6/tiny-prefetch.boot', 1500],
  ['v6/nodata.boot', 1000],
  ['v6/full.boot', 40],
])('a damaged %s is read or refused with an error of ours', (file, short) => {
  const rounds = fuzzRounds(short);
  const bytes = golden(file);
  const places = placesOf(bytes);
  let errors = 0;
  for (const seed of fuzzSeeds(short)) {
    const damaged = overwrite(bytes, places, random(seed));
    if (endsInError(() => readAll(damaged), `${file} seed ${seed}`)) errors++;
  }
  expect(errors).toBeGreaterThan(rounds / 20);
  expect(errors).toBeLessThan(rounds);
});

test.each(['small', 'small-batch', 'tiny-bare'])('damaged compression contexts of %s', (name) => {
  const blob = parseBootstrap(golden(`v6/${name}.boot`)).blobs[0]!;
  const file = golden(`v6/${name}.blob`);
  const stored = file.subarray(blob.ci.offset, blob.ci.offset + blob.ci.compressedSize + 4096);
  const readMeta = (bytes: Buffer, entry: RafsBlob) => {
    const meta = BlobMeta.parseStored(bytes, entry);
    const chunks = Array.from({ length: meta.chunkCount }, (_, i) => meta.chunk(i));
    // What a quick look has passed, the careful one does, too.
    const careful = endsInError(() => checkChunks(chunks, entry, 'it'), 'a careful look');
    expect(careful).toBe(false);
    const offsets = new Float64Array(chunks.length);
    const sizes = new Uint32Array(chunks.length);
    meta.readPlaces(offsets, sizes);
    for (const [i, chunk] of chunks.entries()) {
      expect([offsets[i], sizes[i]]).toEqual([chunk.decodedOffset, chunk.size]);
      const unit = chunk.batch ?? chunk;
      expect(chunk.decodedOffset + chunk.size).toBeLessThanOrEqual(entry.uncompressedSize);
      expect(chunk.storedOffset + unit.storedSize).toBeLessThanOrEqual(entry.ci.offset);
      expect(meta.chunkAtDecoded(chunk.decodedOffset)).toBe(i);
    }
  };
  // The array raw, so that damage reaches the entries and not only the decompressor.
  const array = withRawArray(stored, blob);
  const infos = array.bytes.subarray(0, array.blob.ci.uncompressedSize);
  // The others have chunk infos V1.
  if (name === 'small-batch') expect(areSoundChunks(infos, array.blob)).toBe(true);
  let errors = 0;
  for (const seed of fuzzSeeds(1000)) {
    const next = random(seed);
    const plain = seed % 2 === 0;
    const source = plain ? array.bytes : stored;
    const damaged = overwrite(source, placesOf(source), next);
    if (endsInError(() => readMeta(damaged, plain ? array.blob : blob), `${name} seed ${seed}`)) errors++;
  }
  expect(errors).toBeGreaterThan(100);
});

describe('damaged chunk maps of layers that are referred to', () => {
  const blob = parseBootstrap(golden('ref/small-zran.boot')).blobs[0]!;
  const layer = golden('in/small.tar.gz');
  const stored = golden('ref/small-zran.meta').subarray(0, blob.ci.compressedSize + 4096);
  const array = withRawArray(stored, blob);

  test('chunk infos, contexts and dictionaries', () => {
    let errors = 0;
    let decoded = 0;
    for (const seed of fuzzSeeds(400)) {
      const damaged = overwrite(array.bytes, placesOf(array.bytes), random(seed));
      const read = () => {
        const meta = BlobMeta.parseStored(damaged, array.blob);
        const layout = layoutOf(parseBootstrap(golden('ref/small-zran.boot')), 0, meta);
        for (let i = 0; i < meta.chunkCount; i += 7) {
          const chunk = meta.chunk(i);
          expect(chunk.storedOffset + (chunk.batch ?? chunk).storedSize).toBeLessThanOrEqual(layer.length);
          const unit = unitOf(layout, chunk);
          const bytes = layer.subarray(unit.storedOffset, unit.storedOffset + unit.storedSize);
          const { good, bad } = decodeUnit(layout, unit, bytes);
          expect(good.size + bad.size).toBe(unit.members.length);
          decoded += good.size;
        }
      };
      if (endsInError(read, `zran seed ${seed}`)) errors++;
    }
    expect(errors).toBeGreaterThan(40);
    expect(decoded).toBeGreaterThan(100);
  });

  test('slices of the layer', () => {
    const { inflate, batch, storedOffset } = BlobMeta.parseStored(stored, blob).chunk(0);
    const slice = layer.subarray(storedOffset, storedOffset + batch!.storedSize);
    let errors = 0;
    for (const seed of fuzzSeeds(250)) {
      const damaged = overwrite(slice, placesOf(slice), random(seed));
      const read = () => {
        expect(inflateSlice(damaged, inflate!, batch!.decodedSize).length).toBe(batch!.decodedSize);
      };
      if (endsInError(read, `slice seed ${seed}`)) errors++;
    }
    expect(errors).toBeGreaterThan(20);
    expect(errors).toBeLessThan(250);
  });
});

test('damaged contexts and chunks of an encrypted blob', () => {
  const bootstrap = parseBootstrap(golden('v6/tiny-encrypted.boot'));
  const blob = bootstrap.blobs[0]!;
  const file = golden('v6/tiny-encrypted.blob');
  const stored = file.subarray(blob.ci.offset, blob.ci.offset + blob.ci.compressedSize + 4096);
  const layout = layoutOf(bootstrap, 0, BlobMeta.parseStored(stored, blob));
  let errors = 0;
  for (const seed of fuzzSeeds(200)) {
    const next = random(seed);
    const context = overwrite(stored, placesOf(stored), next);
    if (endsInError(() => void BlobMeta.parseStored(context, blob), `context seed ${seed}`)) errors++;
    for (let i = 0; i < layout.chunkCount; i++) {
      const unit = unitOf(layout, layout.chunk(i));
      const bytes = Buffer.from(file.subarray(unit.storedOffset, unit.storedOffset + unit.storedSize));
      const at = next(bytes.length);
      bytes[at]! ^= 1 + next(255);
      expect(decodeUnit(layout, unit, bytes).good.size).toBe(0);
      expect(decodeUnit(layout, unit, bytes.subarray(0, at)).good.size).toBe(0);
    }
  }
  expect(errors).toBeGreaterThan(10);
});

/** The same contexts with the array stored raw, and the blob table entry that says so. */
function withRawArray(stored: Buffer, blob: RafsBlob): { bytes: Buffer; blob: RafsBlob } {
  const { compressor, compressedSize, uncompressedSize } = blob.ci;
  const array = decompress(compressor, stored.subarray(0, compressedSize), uncompressedSize);
  const header = Buffer.from(stored.subarray(compressedSize));
  header.writeUInt32LE(0, 8);
  header.writeUInt32LE(uncompressedSize, 24);
  const ci = { ...blob.ci, compressor: 'none' as const, compressedSize: uncompressedSize };
  return { bytes: Buffer.concat([array, header]), blob: { ...blob, ci } };
}

test('a damaged end of a layer blob', () => {
  const file = golden('v6/tiny-none.blob');
  const tail = file.subarray(-TOC_TAIL_SIZE);
  const places = placesOf(tail);
  let errors = 0;
  for (const seed of fuzzSeeds(1500)) {
    const damaged = overwrite(tail, places, random(seed));
    const read = () => {
      const place = findInlineBootstrap(damaged, file.length, 'layer');
      decodeInlineBootstrap(file.subarray(place.offset, place.offset + place.storedSize), place, 'layer');
    };
    if (endsInError(read, `tail seed ${seed}`)) errors++;
  }
  expect(errors).toBeGreaterThan(300);
});
