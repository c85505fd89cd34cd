import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import type { ConvertOptions } from '../../src/convert/options.js';
import { isRafterError } from '../../src/errors.js';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { NYDUS_BLOB_LAYER, OCI_LAYER_GZIP } from '../../src/image/media-types.js';
import { convertLayout, type LayerSpec, makeLayout } from './layouts.js';
import { readImage } from './read-image.js';
import { makeTar, type TarItem } from './tar-writer.js';

// Conversions start threads, which takes its time on a machine that is busy.
vi.setConfig({ testTimeout: 120_000 });

const MiB = 1 << 20;
/** Bytes that do not compress, the same for the same seed. */
const noise = (seed: string, size: number) =>
  size === 0 ? Buffer.alloc(0) : createHash('shake256', { outputLength: size }).update(seed).digest();
const words = (seed: string, size: number) => Buffer.alloc(size, `${seed} compresses well. `);
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

/** All files of a directory with their bytes' digests. */
function snapshot(dir: string): Record<string, string> {
  if (!existsSync(dir)) return {};
  const names = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((each) => each.isFile());
  return Object.fromEntries(
    names.map((each) => [
      join(each.parentPath, each.name).slice(dir.length),
      sha256(readFileSync(join(each.parentPath, each.name))),
    ]),
  );
}

const convertTars = async (layers: TarItem[][], options?: ConvertOptions) => {
  const converted = await convertLayout(makeLayout(layers.map(makeTar)), options);
  return { ...converted, ...(await readImage(converted.dir)) };
};

describe('the image', () => {
  it('is the source with its layers replaced by blobs and a bootstrap', async () => {
    const { manifest, config, bootstrap, bootstrapDiffId, summary } = await convertTars([
      [{ name: 'a', data: noise('a', 5000) }],
      [{ name: 'd/', type: '5' }],
      [{ name: 'b', data: noise('b', 6000) }],
    ]);
    expect(manifest.layers.map(({ mediaType }) => mediaType)).toEqual([
      NYDUS_BLOB_LAYER,
      NYDUS_BLOB_LAYER,
      OCI_LAYER_GZIP,
    ]);
    const ids = manifest.layers.slice(0, 2).map(({ digest }) => digest);
    expect(bootstrap.blobs.map(({ id }) => `sha256:${id}`)).toEqual(ids);
    expect(config.rootfs.diff_ids).toEqual([...ids, bootstrapDiffId]);
    expect(config).toMatchObject({ os: 'linux', architecture: 'amd64', config: { Cmd: ['/bin/true'] } });
    expect(summary.layers.map(({ blobDigest }) => blobDigest)).toEqual([ids[0], undefined, ids[1]]);
    expect(summary.target.bytes).toBe(
      manifest.layers.reduce((sum, { size }) => sum + size, manifest.config.size),
    );
    expect(summary.source.bytes).toBeGreaterThan(0);
    expect(summary.platform).toBe('linux/amd64');
  });

  it('names the source by digest, and by reference only where that means something elsewhere', async () => {
    const source = makeLayout([makeTar([{ name: 'a', data: 'x' }])]);
    const annotations = async (sourceReference: string) => {
      const { dir, summary } = await convertLayout(source, {}, { sourceReference });
      const { manifest } = await readImage(dir);
      expect(manifest.annotations?.['containerd.io/snapshot/nydus-source-digest']).toBe(
        summary.source.digest,
      );
      return manifest.annotations?.['containerd.io/snapshot/nydus-source-reference'];
    };
    expect(await annotations(`oci:${source}:t`)).toBeUndefined();
    expect(await annotations('registry.example.com/a:1')).toBe('registry.example.com/a:1');
  });

  it('may have no layer with content, and no layer at all', async () => {
    const empty = await convertTars([[{ name: 'd/', type: '5' }, { name: 'empty' }], []]);
    expect(empty.manifest.layers).toHaveLength(1);
    expect([...empty.rows.keys()]).toEqual(['/', '/d', '/empty']);
    expect((await convertTars([])).rows.size).toBe(1);
  });

  it('has a prefetch table when asked', async () => {
    const layers = [
      [
        { name: 'bin/', type: '5' },
        { name: 'bin/app', data: 'x' },
        { name: 'etc/conf', data: 'y' },
      ],
    ];
    const { bootstrap, rows } = await convertTars(layers, { prefetch: ['/etc/conf', '/nowhere', '/bin'] });
    expect(bootstrap.prefetchNids).toEqual([rows.get('/etc/conf')!.nid, rows.get('/bin')!.nid]);
    expect((await convertTars(layers)).bootstrap.prefetchNids).toEqual([]);
    const globs = await convertTars(layers, { prefetch: ['/etc/c?nf', '/b*'] });
    expect(globs.bootstrap.prefetchNids).toEqual(bootstrap.prefetchNids);
  });

  it('of Docker types, with layers of any compression, reads the same', async () => {
    const layers: LayerSpec[] = [
      { tar: makeTar([{ name: 'a', data: 'gzip' }]), compression: 'docker-gzip' },
      { tar: makeTar([{ name: 'b', data: 'zstd' }]), compression: 'zstd' },
      { tar: makeTar([{ name: 'c', data: 'plain' }]), compression: 'none' },
      // The type lies; the bytes count.
      { tar: makeTar([{ name: 'd', data: 'wrong type' }]), compression: 'none', mediaType: OCI_LAYER_GZIP },
    ];
    const { rows } = await readImage((await convertLayout(makeLayout(layers))).dir);
    for (const [path, text] of [
      ['/a', 'gzip'],
      ['/b', 'zstd'],
      ['/c', 'plain'],
      ['/d', 'wrong type'],
    ] as const) {
      expect(rows.get(path)!.sha256).toBe(sha256(Buffer.from(text)));
    }
  });

  it('reports progress and ends each layer once', async () => {
    const events: string[] = [];
    const shares: number[] = [];
    await convertLayout(
      makeLayout([makeTar([{ name: 'a', data: noise('p', 3 * MiB) }]), makeTar([])]),
      {},
      {
        onProgress: ({ kind, label, done, total }) => {
          events.push(`${kind} ${label} ${total !== undefined}`);
          if (label === 'layer 1 of 2') shares.push(done / total!);
        },
      },
    );
    expect(events.filter((event) => event.startsWith('finished'))).toEqual([
      'finished layer 1 of 2 true',
      'finished layer 2 of 2 true',
    ]);
    expect(events).toContain('progress layer 1 of 2 true');
    expect(shares).toEqual([...shares].sort((a, b) => a - b));
    expect(shares.at(-1)).toBe(1);
  });
});

describe('chunks', () => {
  it('of any length come back', async () => {
    const sizes = [0, 1, 4095, 4096, 4097, MiB - 1, MiB, MiB + 1, 3 * MiB, 3 * MiB + 7];
    const { rows, bootstrap } = await convertTars([
      sizes.map((size) => ({ name: `f${size}`, data: noise(`${size}`, size) })),
    ]);
    for (const size of sizes) {
      expect(rows.get(`/f${size}`)).toMatchObject({ size, sha256: sha256(noise(`${size}`, size)) });
      expect(bootstrap.inode(rows.get(`/f${size}`)!.nid).chunkCount).toBe(Math.ceil(size / MiB));
    }
  });

  it('are stored once within a layer and across layers, also as the tail of a longer file', async () => {
    const big = noise('big', 2 * MiB);
    const small = noise('small', 3000);
    const { summary, chunks, bootstrap } = await convertTars([
      [
        { name: 'big', data: big },
        { name: 'big-again', data: big },
        { name: 'small', data: small },
        { name: 'head-of-big-and-small', data: Buffer.concat([big.subarray(0, MiB), small]) },
        { name: 'zeros', data: Buffer.alloc(3 * MiB) },
      ],
      [
        { name: 'upper', data: big },
        { name: 'small-again', data: small },
        { name: 'new', data: noise('new', 10) },
      ],
    ]);
    expect(chunks.map(({ blob }) => blob)).toEqual([0, 0, 0, 0, 1]);
    expect(bootstrap.blobs.map(({ chunkCount }) => chunkCount)).toEqual([4, 1]);
    const [lower, upper] = summary.layers;
    expect(lower).toMatchObject({ chunks: 4, dedupedChunks: 6, dedupedBytes: 6 * MiB - MiB + 3000 });
    expect(upper).toMatchObject({ chunks: 1, dedupedChunks: 3, dedupedBytes: 2 * MiB + 3000 });
  });

  it('that do not shrink are stored plain, alone and in batches', async () => {
    const { chunks } = await convertTars([
      [
        { name: 'noise', data: noise('n', MiB) },
        { name: 'text', data: words('t', MiB) },
        { name: 'n1', data: noise('1', 900) },
        { name: 'n2', data: noise('2', 900) },
      ],
    ]);
    expect(chunks.map(({ chunk }) => [chunk.size, chunk.compressed, chunk.batch !== undefined])).toEqual([
      [MiB, false, false],
      [MiB, true, false],
      [900, false, true],
      [900, false, true],
    ]);
    expect(chunks[0]!.chunk.storedSize).toBe(MiB);
    expect(chunks[2]!.chunk.batch).toMatchObject({ storedSize: 1800, decodedSize: 1800 });
  });

  it('carry their CRC when they stand alone', async () => {
    const { chunks } = await convertTars([[{ name: 'a', data: noise('a', 2 * MiB) }]]);
    expect(chunks.every(({ chunk }) => chunk.crc !== undefined)).toBe(true);
  });
});

describe('batches', () => {
  const options = { chunkSize: 0x10000, batchSize: 0x8000 };

  it('hold files of one chunk shorter than the chunk size and nothing else', async () => {
    const { chunks, rows, bootstrap } = await convertTars(
      [
        [
          { name: 'a', data: words('a', 100) },
          { name: 'whole-chunk', data: words('w', 0x10000) },
          { name: 'b', data: words('b', 100) },
          { name: 'long', data: words('l', 0x10000 + 50) },
          { name: 'c', data: words('c', 0x8000 - 200) },
          { name: 'next-batch', data: words('d', 100) },
          { name: 'too-large', data: words('e', 0x8001) },
          { name: 'f', data: words('f', 100) },
        ],
      ],
      options,
    );
    const chunkOf = (path: string, k = 0) => {
      const { chunkIndex } = bootstrap.chunkAt(bootstrap.inode(rows.get(path)!.nid), k);
      return chunks[chunkIndex]!.chunk;
    };
    for (const path of ['/whole-chunk', '/long', '/too-large'])
      expect(chunkOf(path).batch, path).toBeUndefined();
    expect(chunkOf('/long', 1).batch).toBeUndefined();
    for (const path of ['/a', '/b', '/c']) expect(chunkOf(path).batch?.index, path).toBe(0);
    for (const path of ['/next-batch', '/f']) expect(chunkOf(path).batch?.index, path).toBe(1);
    expect(chunkOf('/a').batch).toMatchObject({ offset: 0, decodedSize: 0x8000 });
    expect(chunkOf('/b').batch!.offset).toBe(100);
  });

  it('leave stored and decoded order the same', async () => {
    const files = Array.from({ length: 200 }, (_, i) => ({
      name: `f${i}`,
      data: i % 7 === 0 ? noise(`${i}`, 0x10000 + i) : words(`${i}`, 50 * i),
    }));
    const { chunks } = await convertTars([files], options);
    expect(chunks.length).toBeGreaterThan(200);
    for (let i = 1; i < chunks.length; i++) {
      const [before, after] = [chunks[i - 1]!.chunk, chunks[i]!.chunk];
      expect(after.decodedOffset).toBeGreaterThan(before.decodedOffset);
      if (after.batch && after.batch.index === before.batch?.index) {
        expect(after.storedOffset).toBe(before.storedOffset);
        expect(after.batch.offset).toBe(before.batch.offset + before.size);
      } else {
        expect(after.storedOffset).toBe(
          before.storedOffset + (before.batch?.storedSize ?? before.storedSize),
        );
      }
    }
  });

  it('no file has two chunks in one batch, even where chunks are shared', async () => {
    const tail = words('tail', 500);
    const { chunks, bootstrap, rows } = await convertTars(
      [
        [
          { name: 'x', data: noise('x', 0x10000) },
          { name: 'tail', data: tail },
          { name: 'other', data: words('other', 700) },
          { name: 'x-and-tail', data: Buffer.concat([noise('x', 0x10000), tail]) },
          { name: 'y-and-tail', data: Buffer.concat([noise('y', 0x10000), tail]) },
        ],
      ],
      { ...options, batchSize: 0x10000 },
    );
    for (const { path, type, nid } of rows.values()) {
      if (type !== 'file') continue;
      const inode = bootstrap.inode(nid);
      const batches = Array.from(
        { length: inode.chunkCount },
        (_, k) => chunks[bootstrap.chunkAt(inode, k).chunkIndex]!.chunk.batch?.index,
      ).filter((index) => index !== undefined);
      expect(new Set(batches).size, path).toBe(batches.length);
    }
  });

  it('of a single file are not made, and none with size 0', async () => {
    const alone = await convertTars([[{ name: 'a', data: words('a', 100) }]]);
    expect(alone.chunks.map(({ chunk }) => chunk.batch)).toEqual([undefined]);
    const off = await convertTars(
      [
        [
          { name: 'a', data: words('a', 100) },
          { name: 'b', data: words('b', 100) },
        ],
      ],
      {
        batchSize: 0,
      },
    );
    expect(off.chunks.map(({ chunk }) => chunk.batch)).toEqual([undefined, undefined]);
    expect(off.summary.layers[0]).toMatchObject({ batches: 0, batchedChunks: 0, chunks: 2 });
  });

  it('make many small files smaller', async () => {
    const files = Array.from({ length: 300 }, (_, i) => ({ name: `f${i}`, data: `file ${i}\n`.repeat(60) }));
    const size = async (batchSize: number) =>
      (await convertTars([files], { batchSize })).summary.layers[0]!.storedBytes;
    expect(await size(MiB)).toBeLessThan((await size(0)) / 3);
  });
});

describe('the same input', () => {
  it('gives the same bytes again, with any number of threads', async () => {
    const items = Array.from({ length: 120 }, (_, i) => ({
      name: `f${i}`,
      data: i % 5 ? words(`${i % 40}`, 4000 * (i % 13)) : noise(`${i % 60}`, 40_000 * (i % 11)),
      pax: [
        ['SCHILY.xattr.user.b', 'x'],
        ['SCHILY.xattr.user.a', 'y'],
      ] as [string, string][],
    }));
    const source = makeLayout([
      makeTar(items),
      makeTar([...items.slice(50).reverse(), { name: 'new', data: noise('new', 5) }]),
    ]);
    const options = { chunkSize: 0x10000, batchSize: 0x20000 };
    const first = snapshot((await convertLayout(source, { ...options, jobs: 1 })).dir);
    expect(Object.keys(first).length).toBeGreaterThan(6);
    for (const jobs of [1, 4]) {
      const { dir, summary } = await convertLayout(source, { ...options, jobs });
      expect(snapshot(dir), `${jobs} jobs`).toEqual(first);
      expect(summary.layers[0]!.batches).toBeGreaterThan(1);
    }
  });

  it('in another directory gives the same bytes', async () => {
    const tar = makeTar([{ name: 'a', data: noise('a', 100) }]);
    const digests = [makeLayout([tar]), makeLayout([tar])].map(
      async (dir) => (await convertLayout(dir)).summary.target,
    );
    const [one, two] = await Promise.all(digests);
    expect(one).toEqual(two);
  });
});

describe('what is wrong', () => {
  const tar = makeTar([
    { name: 'first', data: noise('first', 200_000) },
    { name: 'second', data: words('second', 300_000) },
  ]);

  /** The error, after checking that it is one of ours, names the layer and that nothing is left at the target. */
  async function failure(
    sourceDir: string,
    more: Parameters<typeof convertLayout>[2] = {},
    options?: ConvertOptions,
  ) {
    let dir = '';
    const target = (path: string) => new LayoutTarget({ transport: 'oci', path, tag: 'out' });
    const error: unknown = await (async () => {
      dir = join(dirname(makeLayout([])), 'target');
      return convertLayout(sourceDir, options, { target: target(dir), ...more });
    })().then(
      () => undefined,
      (e: unknown) => e,
    );
    if (!isRafterError(error)) throw error ?? new Error('it did not fail');
    expect(existsSync(dir), 'the target directory').toBe(false);
    expect(readdirSync(dirname(dir)), 'beside the target').toEqual(['source']);
    return `${error.code} ${error.message}`;
  }

  it.each<[string, Partial<LayerSpec>, RegExp]>([
    [
      'a layer with another digest',
      { damage: (b) => flip(b, b.length - 5), compression: 'none' },
      /^DIGEST_MISMATCH .*sha256:/,
    ],
    [
      'a layer with another digest and a broken tar',
      { damage: (b) => flip(b, 3), compression: 'none' },
      /^DIGEST_MISMATCH/,
    ],
    ['a layer that is too short', { damage: (b) => b.subarray(0, -100), compression: 'none' }, /^TRUNCATED/],
    ['a truncated gzip', { damage: (b) => b.subarray(0, -2000) }, /^TRUNCATED/],
    ['a truncated zstd', { damage: (b) => b.subarray(0, -2000), compression: 'zstd' }, /^TRUNCATED/],
    ['a damaged gzip', { damage: (b) => flip(b, 100_000) }, /^DIGEST_MISMATCH/],
    [
      'a layer that is longer',
      { damage: (b) => Buffer.concat([b, b]), compression: 'none' },
      /^DIGEST_MISMATCH/,
    ],
    [
      'a diff id of another tar',
      { diffId: `sha256:${'a'.repeat(64)}` },
      /^DIGEST_MISMATCH .*layer 2 of 2.*its tar has digest sha256:.*config says sha256:a{64}/,
    ],
    ['a blob that is not there', { missing: true }, /^NOT_FOUND/],
    [
      'a tar that is cut short, with the right digests',
      { tar: tar.subarray(0, 150_000) },
      /^TRUNCATED .*layer 2 of 2.*"first"/,
    ],
    ['a tar with a bad checksum', { tar: flip(tar, 3) }, /^MALFORMED .*layer 2 of 2.*at offset 0/],
    [
      'an impossible entry',
      { tar: makeTar([{ name: 'h', type: '1', link: 'gone' }]) },
      /^MALFORMED .*layer 2 of 2.*"h"/,
    ],
    [
      'a layer for Windows hosts only',
      { mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip' },
      /^UNSUPPORTED .*layer 2/,
    ],
    [
      'an encrypted layer',
      { mediaType: `${OCI_LAYER_GZIP}+encrypted` },
      /^UNSUPPORTED .*layer 2: an encrypted layer/,
    ],
    [
      'something that is no layer',
      { mediaType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip' },
      /^UNSUPPORTED .*not a file system layer/,
    ],
  ])('%s is one error and leaves nothing', async (_, spec, message) => {
    expect(await failure(makeLayout([makeTar([{ name: 'ok', data: 'ok' }]), { tar, ...spec }]))).toMatch(
      message,
    );
  });

  it.each<[string, object, RegExp]>([
    ['another operating system', { os: 'windows' }, /^UNSUPPORTED .*an image for windows/],
    [
      'diff ids that do not match the layers',
      { rootfs: { type: 'layers', diff_ids: [] } },
      /^MALFORMED .*0 diff ids for 1 layers/,
    ],
    ['a config that is none', { rootfs: 5 }, /^MALFORMED .*config/],
  ])('%s', async (_, config, message) => {
    expect(await failure(makeLayout([tar], { config }))).toMatch(message);
  });

  it('an image that is a Nydus image already', async () => {
    const { dir } = await convertLayout(makeLayout([tar]));
    const source = new LayoutSource({ transport: 'oci', path: dir, tag: 'out' });
    expect(await failure(dir, { source })).toMatch(/^UNSUPPORTED .*a Nydus image already/);
  });

  it('an existing target layout stays as it was', async () => {
    const { dir } = await convertLayout(makeLayout([tar]));
    const before = snapshot(dir);
    const bad = makeLayout([tar, { tar, diffId: `sha256:${'b'.repeat(64)}` }]);
    const target = new LayoutTarget({ transport: 'oci', path: dir, tag: 'second' });
    await expect(convertLayout(bad, {}, { target })).rejects.toThrow('config says');
    expect(snapshot(dir)).toEqual(before);
  });

  it('an interrupted conversion leaves nothing', async () => {
    const stop = new AbortController();
    const source = makeLayout([makeTar([{ name: 'a', data: randomBytes(20 * MiB) }])]);
    const message = await failure(
      source,
      { onProgress: ({ done }) => done > 5 * MiB && stop.abort() },
      { signal: stop.signal },
    );
    expect(message).toMatch(/^INTERRUPTED/);
  });

  it.each<[string, ConvertOptions, string]>([
    ['chunk size', { chunkSize: 5000 }, 'chunk size 5000'],
    ['chunk size', { chunkSize: 2048 }, 'chunk size 2048'],
    ['chunk size', { chunkSize: 1 << 24 }, 'chunk size 16777216'],
    ['batch size', { batchSize: 100 }, 'batch size 100'],
    ['batch size', { batchSize: (1 << 24) + 1 }, 'batch size'],
    ['level', { level: 23 }, 'level 23'],
    ['level', { level: 1.5 }, 'level 1.5'],
    ['compressor', { compressor: 'gzip' }, 'gzip is only read'],
    ['jobs', { jobs: 0 }, 'number of jobs 0'],
    ['prefetch', { prefetch: ['etc'] }, 'prefetch path "etc"'],
    ['long prefetch', { prefetch: [`/${'a'.repeat(4096)}`] }, 'at most 4096 characters'],
  ])('an option that cannot be: %s', async (_, options, message) => {
    await expect(convertLayout(makeLayout([]), options)).rejects.toThrow(message);
  });
});

describe('an index', () => {
  const tar = makeTar([{ name: 'a', data: 'x' }]);
  const platform = (architecture: string) => ({ platform: { os: 'linux', architecture } });

  it('gives the image of the platform, past attestations', async () => {
    const dir = makeLayout([tar], {
      index: (manifest) => [
        {
          ...manifest,
          digest: `sha256:${'c'.repeat(64)}`,
          platform: { os: 'unknown', architecture: 'unknown' },
        },
        { ...manifest, digest: `sha256:${'d'.repeat(64)}`, ...platform('arm64') },
        { ...manifest, ...platform('amd64') },
      ],
    });
    const { summary } = await convertLayout(dir, {}, { platforms: ['linux/amd64'] });
    expect(summary.layers).toHaveLength(1);
    await expect(convertLayout(dir, {}, { platforms: ['linux/s390x'] })).rejects.toThrow(
      'no image for linux/s390x',
    );
    await expect(convertLayout(dir, {}, { platforms: ['windows'] })).rejects.toThrow('is not a platform');
  });
});

function flip(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at]! ^= 0xff;
  return copy;
}

it('a layer may be a whiteout and nothing else', async () => {
  const { rows } = await convertTars([[{ name: 'a', data: 'x' }], [{ name: '.wh.a' }]]);
  expect([...rows.keys()]).toEqual(['/']);
});
