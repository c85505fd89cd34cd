import { createHash } from 'node:crypto';
import { cpSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { PackPool } from '../../src/codec/pack-pool.js';
import { hexOf } from '../../src/image/descriptor.js';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { type Random, random } from '../support/mutate.js';
import { convertLayout, makeLayout } from './layouts.js';
import { readImage } from './read-image.js';
import { makeTar } from './tar-writer.js';

// Conversions start threads, which takes its time on a machine that is busy.
vi.setConfig({ testTimeout: 120_000 });
afterEach(() => vi.restoreAllMocks());

const noise = (seed: string, size: number) =>
  createHash('shake256', { outputLength: size }).update(seed).digest();
const files = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, i) => ({
    name: `${prefix}${i}`,
    data: `${prefix} ${i} `.repeat(40 * i),
  }));
const layers = [
  makeTar([{ name: 'big', data: noise('big', 600_000) }, ...files('a', 40)]),
  makeTar([...files('b', 40), { name: 'part', data: noise('big', 300_000) }, { name: '.wh.a7' }]),
  makeTar([{ name: 'own', data: noise('own', 200_000) }, ...files('a', 20), ...files('c', 20)]),
];
/** Many chunks and many batches, so that much can come in another order. */
const shape = { chunkSize: 1 << 16, batchSize: 1 << 14 };
const source = makeLayout(layers);
const dictionarySource = makeLayout([
  makeTar([{ name: 'x', data: noise('own', 200_000) }, ...files('b', 10)]),
]);

/** Results of the threads come so much later at most: longer than the others take to ask for them. */
const MAX_LATENESS_MS = 80;

/** Nothing for a moment, most of the time, or a pause of some milliseconds. */
const pause = (next: Random) => (next(4) === 0 ? delay(next(4)) : undefined);

/** The layers' bytes in pieces of any size, at any time. */
function slowSource(next: Random): LayoutSource {
  const slow = new LayoutSource({ transport: 'oci', path: source, tag: 't' });
  const openBlob = slow.openBlob.bind(slow);
  slow.openBlob = async (...args) => {
    const stream = await openBlob(...args);
    return Readable.from(
      (async function* () {
        for await (const bytes of stream as AsyncIterable<Buffer>) {
          for (let at = 0; at < bytes.length; ) {
            const size = 1 + next(next(2) === 0 ? 1000 : 100_000);
            await pause(next);
            yield bytes.subarray(at, at + size);
            at += size;
          }
        }
      })(),
      { objectMode: false },
    );
  };
  return slow;
}

/** A target that takes its time for each piece, and for storing each blob. */
function slowTarget(path: string, next: Random): LayoutTarget {
  const slow = new LayoutTarget({ transport: 'oci', path, tag: 'out' });
  const createBlob = slow.createBlob.bind(slow);
  slow.createBlob = async (...args) => {
    const writer = await createBlob(...args);
    const write = writer.write.bind(writer);
    const commit = writer.commit.bind(writer);
    writer.write = async (bytes) => {
      await pause(next);
      await write(bytes);
    };
    writer.commit = async (expected) => {
      await delay(next(20));
      return commit(expected);
    };
    return writer;
  };
  return slow;
}

/** Results of the worker threads come late, each by another time, so in any order. */
function slowPool(next: Random): void {
  const pack = PackPool.prototype.pack;
  vi.spyOn(PackPool.prototype, 'pack').mockImplementation(async function (this: PackPool, ...args) {
    const late = next(MAX_LATENESS_MS);
    const result = await pack.apply(this, args);
    await delay(late);
    return result;
  });
}

interface Run {
  seed: number;
  jobs: number;
  dictionaries?: LayoutSource[];
  cacheDir?: string;
  target: string;
}

async function convertSlowly({ seed, jobs, target, ...more }: Run) {
  const next = random(seed);
  slowPool(next);
  const ends = { source: slowSource(next), target: slowTarget(target, next) };
  const { summary } = await convertLayout(source, { ...shape, jobs }, { ...ends, ...more });
  vi.restoreAllMocks();
  return { summary, blobs: readdirSync(join(target, 'blobs/sha256')).sort() };
}

const dictionaries = async () => {
  const { dir } = await convertLayout(dictionarySource, shape);
  return [new LayoutSource({ transport: 'oci', path: dir, tag: 'out' })];
};

describe.each(['no dictionary', 'a dictionary'])('with %s', (kind) => {
  const more: Pick<Run, 'dictionaries'> = {};
  let undisturbed: Awaited<ReturnType<typeof convertLayout>>;
  beforeAll(async () => {
    if (kind === 'a dictionary') more.dictionaries = await dictionaries();
    undisturbed = await convertLayout(source, { ...shape, jobs: 2 }, more);
  }, 120_000);

  it.for([
    { jobs: 1, seed: 1 },
    { jobs: 4, seed: 2 },
  ])('the same bytes come out with $jobs jobs, whatever comes when (seed $seed)', async ({ jobs, seed }) => {
    const { summary, dir } = undisturbed;
    const blobs = readdirSync(join(dir, 'blobs/sha256')).sort();
    if (kind === 'a dictionary') expect(summary.dictionary.chunks).toBeGreaterThan(5);

    const target = `${dir}-slow-${seed}`;
    const cacheDir = `${dir}-records-${seed}`;
    const slow = await convertSlowly({ seed, jobs, target, cacheDir, ...more });
    expect(slow.summary.target).toEqual(summary.target);
    expect(slow.blobs).toEqual(blobs);

    // Again, when some layers were converted before.
    const missing = seed % layers.length;
    rmSync(join(target, 'blobs/sha256', hexOf(summary.layers[missing]!.blobDigest!)));
    const partly = await convertSlowly({ seed: seed + 100, jobs, target, cacheDir, ...more });
    expect(partly.summary.layers.map(({ reused }) => reused)).toEqual(layers.map((_, i) => i !== missing));
    expect(partly.summary.target).toEqual(summary.target);
    expect(partly.blobs).toEqual(blobs);
  });
});

it('nothing of the time and the machine is in what is written', async () => {
  const history = [{ created: '2001-02-03T04:05:06Z', created_by: 'somebody' }];
  const dated = makeLayout(layers.slice(0, 1), { config: { created: '2001-02-03T04:05:06Z', history } });
  const elsewhere = `${dated}-moved`;
  cpSync(dated, elsewhere, { recursive: true });
  const { dir } = await convertLayout(dated);
  vi.useFakeTimers({ toFake: ['Date'], now: new Date('2077-07-07T07:07:07Z') });
  try {
    const later = await convertLayout(elsewhere);
    expect(readdirSync(join(later.dir, 'blobs/sha256'))).toEqual(readdirSync(join(dir, 'blobs/sha256')));
  } finally {
    vi.useRealTimers();
  }
  const { manifest, config } = await readImage(dir);
  expect(Object.keys(manifest.annotations!).sort()).toEqual([
    'containerd.io/snapshot/nydus-fs-version',
    'containerd.io/snapshot/nydus-source-digest',
  ]);
  expect(manifest.layers.map(({ annotations }) => Object.entries(annotations!).flat())).toEqual([
    ['containerd.io/snapshot/nydus-blob', 'true'],
    ['containerd.io/snapshot/nydus-bootstrap', 'true', 'containerd.io/snapshot/nydus-fs-version', '6'],
  ]);
  const added = { created_by: 'Nydus Converter', comment: 'Nydus Bootstrap Layer' };
  expect(config).toMatchObject({ created: '2001-02-03T04:05:06Z', history: [...history, added] });

  const layer = readFileSync(join(dir, 'blobs/sha256', hexOf(manifest.layers.at(-1)!.digest)));
  // RFC 1952: MTIME is 0, and OS is 255 (unknown).
  expect([layer.readUInt32LE(4), layer[9]]).toEqual([0, 255]);
  const tar = gunzipSync(layer);
  const times: string[] = [];
  for (let at = 0; tar[at] !== 0; ) {
    times.push(tar.toString('latin1', at + 136, at + 147));
    const size = Number.parseInt(tar.toString('latin1', at + 124, at + 135), 8);
    at += 512 + Math.ceil(size / 512) * 512;
  }
  expect(times).toEqual(['00000000000', '00000000000', '00000000000']);
});
