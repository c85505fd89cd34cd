import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { type LayerFacts, LayerRecorder, readLayerRecord } from '../../src/convert/layer-record.js';
import type { TarEntryHead } from '../../src/convert/tar-entry.js';
import { BlobRef } from '../../src/rafs/blob-ref.js';
import type { Chunk, FileInode } from '../../src/rafs/tree.js';

const facts: LayerFacts = {
  blob: undefined,
  entries: 3,
  tarBytes: 2 ** 40,
  stats: {
    chunks: 1,
    storedBytes: 2,
    dedupedChunks: 3,
    dedupedBytes: 4,
    dictionaryChunks: 7,
    dictionaryBytes: 8,
    batchedChunks: 5,
    batches: 6,
  },
  contents: [],
};
const head = (more: Partial<TarEntryHead> = {}): TarEntryHead => ({
  path: Buffer.from('f'),
  type: 'file',
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtimeSec: 0,
  mtimeNsec: 0,
  linkTarget: Buffer.alloc(0),
  rdev: { major: 0, minor: 0 },
  xattrs: [],
  size: 0,
  ...more,
});
const file = (chunks: Chunk[]): FileInode => ({
  type: 'file',
  ...{ mode: 0o100644, uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0, xattrs: [], size: 1, chunks },
});

it.each<[string, Partial<TarEntryHead>]>([
  [
    'of the largest numbers',
    { mode: 0o7777, uid: 0xfffffffe, gid: 0xffffffff, size: 2 ** 44, mtimeNsec: 999_999_999 },
  ],
  ['before 1970, and far ahead', { mtimeSec: -(2 ** 40) }],
  ['with odd bytes', { path: Buffer.from([0xff, 10, 0x80]), linkTarget: randomBytes(4000), type: 'symlink' }],
  ['of a device', { type: 'block', rdev: { major: 4095, minor: 1048575 } }],
  [
    'with xattrs',
    {
      xattrs: [
        { name: randomBytes(255), value: randomBytes(65_535) },
        { name: Buffer.from('a'), value: Buffer.alloc(0) },
      ],
    },
  ],
])('an entry %s comes back', (_, more) => {
  const recorder = new LayerRecorder();
  recorder.add(head(more), undefined);
  recorder.add(head(), undefined);
  const record = readLayerRecord(recorder.finish(facts));
  expect([...record.heads()]).toEqual([head(more), head()]);
  expect(record).toMatchObject(facts);
  expect(record.blobIds).toEqual([]);
});

it('chunks come back once each, with the blobs that they are in', () => {
  const blobs = ['a', 'b'].map((letter) => {
    const ref = new BlobRef();
    ref.setId(letter.repeat(64));
    return ref;
  });
  const chunk = (blob: BlobRef, index: number): Chunk => ({
    ...{ blob, index, digest: randomBytes(32), crc: 0xffffffff, size: 1 << 20, flags: 0x80000001 },
    ...{ decodedOffset: 2 ** 43, storedOffset: 2 ** 42, storedSize: 0xffffffff },
  });
  const [one, two, three] = [chunk(blobs[1]!, 0), chunk(blobs[0]!, 7), chunk(blobs[0]!, 8)];
  const recorder = new LayerRecorder();
  const late = file([]);
  recorder.add(head(), late);
  recorder.add(head(), file([one, one, two]));
  recorder.add(head({ type: 'dir' }), undefined);
  recorder.add(head(), file([]));
  // A file gets its chunks when they are stored.
  late.chunks = [two, three];
  const meta = randomBytes(8192);
  const blob = { digest: `sha256:${'a'.repeat(64)}`, size: 5, fields: { id: 'x' } as never, meta };
  const record = readLayerRecord(recorder.finish({ ...facts, blob }));
  expect(record.blob).toEqual(blob);
  expect(record.blobIds).toEqual(['a'.repeat(64), 'b'.repeat(64)]);
  const { all, files } = record.readChunks(record.blobIds.map((id) => blobs.find((each) => each.id === id)!));
  expect(all).toEqual([two, three, one]);
  expect(files).toEqual([[two, three], [one, one, two], []]);
  expect(files[1]![0]).toBe(files[1]![1]);
});
