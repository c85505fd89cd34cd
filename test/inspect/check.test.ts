import { cpSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
import { NYDUS_REF } from '../../src/image/media-types.js';
import { checkImage } from '../../src/inspect/check-image.js';
import { readBootstrapTables } from '../../src/rafs/bootstrap-tables.js';
import { golden } from '../mount/golden.js';
import { goldenLayout, writeGoldenLayout, writeReferenceLayout } from '../mount/layouts.js';
import { type Planted, plant } from './planted-image.js';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rafter-check-'));
});
afterAll(() => rm(dir, { recursive: true }));

const check = (source: LayoutSource) => checkImage(source, { platform: 'linux/amd64' });
const layout = (path: string) => new LayoutSource({ transport: 'oci', path, tag: 'latest' });
let copies = 0;
const freshPath = () => join(dir, `copy${copies++}`);

describe('good images have no fault', () => {
  it.each(['tiny-nydus', 'tiny-batch', 'tiny-both'])('from nydusify: %s', async (name) => {
    const result = await check(goldenLayout(name));
    expect(result.faults).toEqual([]);
    expect(result).toMatchObject({ faultCount: 0, names: 8, chunks: 3, warnings: [] });
    expect(result.bytes).toBeGreaterThan(20_000);
  });

  it.each([
    'full',
    'small',
    'small-64k',
    'small-batch',
    'small-lz4',
    'tiny-bare',
    'tiny-sha256',
    'tiny-prefetch',
    'tiny-none',
    'tiny-encrypted',
  ])('from nydus-image: %s', async (name) => {
    const path = freshPath();
    await writeGoldenLayout(name, path);
    const { faults, chunks } = await check(layout(path));
    expect(faults).toEqual([]);
    expect(chunks).toBeGreaterThan(0);
  });
});

describe('an image that refers to the layers of an ordinary one', () => {
  it('has no fault beside them', async () => {
    const result = await check(writeReferenceLayout(freshPath()));
    expect(result.faults).toEqual([]);
    expect(result).toMatchObject({ names: 8, chunks: 3, warnings: [] });
  });

  it('has one for each layer that is not there', async () => {
    const { faults } = await check(goldenLayout('tiny-ociref'));
    expect(new Set(faults.map(({ part }) => part))).toEqual(new Set(['blob']));
    expect(new Set(faults.map(({ blob }) => blob)).size).toBe(2);
  });

  it('has one for a layer that is another, and for annotations that name another', async () => {
    const path = freshPath();
    const source = writeReferenceLayout(path);
    const refs = (manifest: object) => {
      for (const layer of (manifest as { layers: { annotations: Record<string, string> }[] }).layers)
        if (layer.annotations[NYDUS_REF]) layer.annotations[NYDUS_REF] = `sha256:${'0'.repeat(64)}`;
    };
    const planted = await plant(source, path, { manifest: refs });
    const { faults } = await check(planted);
    expect(faults.map(({ message }) => message)).toEqual([
      expect.stringMatching(/annotation .*nydus-ref is not sha256:[0-9a-f]{64}$/),
      expect.stringMatching(/annotation .*nydus-ref is not sha256:[0-9a-f]{64}$/),
    ]);
  });
});

it('says of images that it cannot read that it cannot', async () => {
  await expect(check(goldenLayout('tiny-src'))).rejects.toMatchObject({ code: 'UNSUPPORTED' });
});

/** Byte offset of the first file's inode with a chunk, and of tables, in a bootstrap. */
const tables = (bytes: Buffer) => readBootstrapTables(bytes, 'planted').extended;

const swapRows = (bytes: Buffer) => {
  const { offset } = tables(bytes).chunkTable;
  const row = Buffer.from(bytes.subarray(offset, offset + 80));
  bytes.copyWithin(offset, offset + 80, offset + 160);
  row.copy(bytes, offset + 80);
};

/** Adds `by` to the 32-bit number at `at` of the chunk table's first row. */
const changeRow =
  (at: number, by = 1) =>
  (bytes: Buffer) => {
    const offset = tables(bytes).chunkTable.offset + at;
    bytes.writeUInt32LE((bytes.readUInt32LE(offset) + by) >>> 0, offset);
  };

/** Overwrites a name where it stands in a directory. */
const rename = (from: string, to: string) => (bytes: Buffer) => {
  bytes.write(to, bytes.indexOf(from, 0x3000), 'latin1');
};

const OTHER = `sha256:${'1'.repeat(64)}`;

/** Sets the member at a path like `layers.0.size`. */
const put = (path: string, value: unknown) => (json: object) => {
  const keys = path.split('.');
  const last = keys.pop()!;
  const parent = keys.reduce((at, key) => (at as Record<string, object>)[key]!, json);
  Object.assign(parent, { [last]: value });
};

const cases: [string, Planted, RegExp][] = [
  ['rows of the chunk table are swapped', { bootstrap: swapRows }, /out of order/],
  ['a digest in the chunk table is another', { bootstrap: changeRow(28) }, /digest is another/],
  ['a row names a blob that is not there', { bootstrap: changeRow(32, 7) }, /does not exist/],
  ['a row has a wrong flag', { bootstrap: changeRow(36) }, /compressed (true|false), but/],
  ['a row has a wrong stored size', { bootstrap: changeRow(40) }, /stored size \d+, but/],
  ['a row has a wrong size', { bootstrap: changeRow(44) }, /chunk table says/],
  ['a row has a wrong stored offset', { bootstrap: changeRow(48) }, /stored offset \d+, but/],
  ['a row has a wrong decoded offset', { bootstrap: changeRow(56, 4096) }, /decoded offset \d+, but/],
  ['a row has a wrong CRC', { bootstrap: changeRow(76) }, /CRC/],
  [
    'a row is listed twice',
    {
      bootstrap: (bytes) =>
        void bytes.copyWithin(
          tables(bytes).chunkTable.offset + 80,
          tables(bytes).chunkTable.offset,
          tables(bytes).chunkTable.offset + 80,
        ),
    },
    /second row/,
  ],
  ['the superblock has another magic', { bootstrap: (bytes) => void bytes.writeUInt32LE(1, 1024) }, /magic/],
  [
    'the superblock counts other names',
    { bootstrap: (bytes) => void bytes.writeUInt32LE(99, 1040) },
    /counts 99 names/,
  ],
  [
    'the names of a directory are out of order',
    { bootstrap: rename('conf.link', '_onf.link') },
    /out of order/,
  ],
  ['a name holds a slash', { bootstrap: rename('noise', 'no/se') }, /holds "\/"/],
  ['the root is no directory', { bootstrap: (bytes) => void bytes.writeUInt16LE(200, 1038) }, /./],
  [
    'the blob table has another chunk count',
    { bootstrap: (bytes) => void bytes.writeUInt32LE(1, tables(bytes).blobTable.offset + 72) },
    /ci_uncompressed_size|ci_entries/,
  ],
  [
    'the blob table names a blob that is no layer',
    { bootstrap: (bytes) => void bytes.write('0'.repeat(64), tables(bytes).blobTable.offset, 'latin1') },
    /no layer is this blob/,
  ],
  [
    'the chunk map that comes along is another',
    {
      chunkMap: (bytes) => {
        bytes[2]! ^= 1;
      },
    },
    /chunk map/,
  ],
  ['a diff id of a blob is wrong', { config: put('rootfs.diff_ids.0', OTHER) }, /diff id 1/],
  ['the diff id of the bootstrap is wrong', { config: put('rootfs.diff_ids.2', OTHER) }, /diff id 3/],
  ['there are too few diff ids', { config: put('rootfs.diff_ids', [OTHER]) }, /1 diff ids for 3 layers/],
  ['the configuration has no rootfs', { config: put('rootfs', undefined) }, /rootfs/],
  ['a blob layer has another media type', { manifest: put('layers.0.mediaType', 'x/y') }, /media type/],
  ['a blob layer lacks its annotation', { manifest: put('layers.1.annotations', {}) }, /nydus-blob/],
  [
    'the bootstrap layer has another media type',
    { manifest: put('layers.2.mediaType', 'x/y') },
    /media type/,
  ],
  ['a blob is not there', { manifest: put('layers.0.digest', OTHER) }, /no layer is this blob/],
  ['a layer has another size', { manifest: put('layers.0.size', 5) }, /./],
];

describe.each(['tiny-nydus', 'tiny-batch'])('finds that, in %s,', (name) => {
  it.each(cases.filter(([what]) => name === 'tiny-nydus' || !/flag|stored/.test(what)))(
    '%s',
    async (_what, planted, expected) => {
      const { faults, faultCount } = await check(await plant(goldenLayout(name), freshPath(), planted));
      expect(faultCount).toBeGreaterThan(0);
      expect(faults.map(({ message }) => message)).toContainEqual(expect.stringMatching(expected));
    },
  );
});

it('reports many faults in one run, each with its place', async () => {
  const source = await plant(goldenLayout('tiny-nydus'), freshPath(), {
    bootstrap: changeRow(0),
    config: put('rootfs.diff_ids.0', OTHER),
    manifest: put('layers.1.annotations', {}),
  });
  const { faults } = await check(source);
  expect(new Set(faults.map(({ part }) => part))).toEqual(new Set(['manifest', 'config', 'blob']));
  expect(faults.find(({ part }) => part === 'blob')).toMatchObject({
    path: expect.stringMatching(/^\//),
    blob: expect.stringMatching(/^[0-9a-f]{64}$/),
    chunk: expect.any(Number),
    offset: expect.any(Number),
  });
});

describe('a flipped byte in a file of the layout', () => {
  const files = async () => {
    const source = goldenLayout('tiny-nydus');
    const { digest } = await source.resolve();
    const manifest = JSON.parse((await source.readManifest(await source.resolve())).toString());
    return {
      manifest: [digest],
      config: [manifest.config.digest],
      bootstrap: [manifest.layers.at(-1).digest],
      blob: manifest.layers.slice(0, -1).map((layer: { digest: string }) => layer.digest),
    } as Record<string, string[]>;
  };

  it.each(['manifest', 'config', 'bootstrap', 'blob'])('is found wherever it is: %s', async (part) => {
    for (const digest of (await files())[part]!) {
      const path = freshPath();
      cpSync(join(golden, 'oci/tiny-nydus'), path, { recursive: true });
      const file = join(path, 'blobs/sha256', digest.slice(7));
      const bytes = await readFile(file);
      for (let region = 0; region < 12; region++) {
        const at = Math.floor(((region + 0.5) / 12) * bytes.length);
        bytes[at]! ^= 0x10;
        await writeFile(file, bytes);
        const source = new LayoutSource({ transport: 'oci', path });
        const { faults } = await check(source);
        expect(
          faults.map((fault) => fault.part),
          `${part} at ${at}`,
        ).toContain(part);
        bytes[at]! ^= 0x10;
      }
      await writeFile(file, bytes.subarray(0, bytes.length - 1));
      expect((await check(new LayoutSource({ transport: 'oci', path }))).faultCount).toBeGreaterThan(0);
    }
  });
});
