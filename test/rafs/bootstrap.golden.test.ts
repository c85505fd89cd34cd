import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { sha256 } from '../../src/codec/digest.js';
import { BlobMeta } from '../../src/rafs/blob-meta.js';
import { type Bootstrap, type DiskInode, parseBootstrap } from '../../src/rafs/bootstrap.js';
import { walk } from '../../src/rafs/walk.js';
import { golden, goldenTree, readChunk, type TreeRow } from './golden.js';

interface Case {
  boot: string;
  tree: string;
  /** Blob files in the order of the blob table. */
  blobs: string[];
}

const CASES: Case[] = [
  { boot: 'full', tree: 'full', blobs: ['full3', 'full1', 'full2'] },
  { boot: 'small', tree: 'small', blobs: ['small'] },
  { boot: 'small-batch', tree: 'small', blobs: ['small-batch'] },
  { boot: 'small-lz4', tree: 'small', blobs: ['small-lz4'] },
  { boot: 'small-64k', tree: 'small', blobs: ['small-64k'] },
  { boot: 'twin-dict', tree: 'twin', blobs: ['small', 'twin-dict'] },
  { boot: 'tiny-none', tree: 'tiny', blobs: ['tiny-none'] },
  { boot: 'tiny-sha256', tree: 'tiny', blobs: ['tiny-sha256'] },
  { boot: 'tiny-prefetch', tree: 'tiny', blobs: ['tiny-prefetch'] },
  { boot: 'tiny-bare', tree: 'tiny', blobs: ['tiny-bare'] },
  { boot: 'tiny-toc', tree: 'tiny', blobs: ['tiny-toc'] },
];

/** The tree in the words of `tree/*.json`, the content of files decoded from the blobs with every check on. */
function describeTree(bootstrap: Bootstrap, blobFiles: Buffer[] | undefined): TreeRow[] {
  const metas =
    blobFiles &&
    bootstrap.blobs.map((blob, i) => {
      const { offset, compressedSize } = blob.ci;
      const stored = blobFiles[i]!.subarray(offset, offset + compressedSize + 4096);
      return bootstrap.chunkMap(i) ?? BlobMeta.parseStored(stored, blob);
    });
  const content = (inode: DiskInode): string => {
    const hash = createHash('sha256');
    let size = 0;
    for (let k = 0; k < inode.chunkCount; k++) {
      const { blobIndex, chunkIndex, decodedOffset } = bootstrap.chunkAt(inode, k);
      const meta = metas![blobIndex]!;
      const digest = bootstrap.chunkDigest(blobIndex, chunkIndex)!;
      const raw = readChunk(blobFiles![blobIndex]!, bootstrap.blobs[blobIndex]!, meta, chunkIndex, digest);
      expect(meta.chunk(chunkIndex).decodedOffset).toBe(decodedOffset);
      expect(meta.chunkAtDecoded(decodedOffset)).toBe(chunkIndex);
      hash.update(raw);
      size += raw.length;
    }
    expect(size).toBe(inode.size);
    return hash.digest('hex');
  };
  const groups = new Map<number, number>();
  const entries = [...walk(bootstrap)].sort((a, b) => Buffer.compare(a.path, b.path));
  return entries.map(({ path, inode }) => {
    const row: TreeRow = {
      ...textField('path', path),
      type: inode.type,
      mode: inode.mode.toString(8).padStart(6, '0'),
      uid: inode.uid,
      gid: inode.gid,
      nlink: inode.nlink,
      mtime: inode.mtimeSec,
      mtimeNsec: inode.mtimeNsec,
    };
    if (inode.type === 'dir') row.dirSize = inode.size;
    if (inode.type === 'file' || inode.type === 'symlink') row.size = inode.size;
    if (inode.rdev) row.rdev = [inode.rdev.major, inode.rdev.minor];
    if (inode.type === 'symlink') Object.assign(row, textField('target', bootstrap.readlink(inode)));
    if (inode.type === 'file') {
      if (blobFiles) row.sha256 = content(inode);
      if (inode.nlink > 1) {
        if (!groups.has(inode.nid)) groups.set(inode.nid, groups.size + 1);
        row.hardlinkGroup = groups.get(inode.nid)!;
      }
    }
    const xattrs = bootstrap.xattrs(inode);
    if (xattrs.length > 0) {
      row.xattrs = Object.fromEntries(
        xattrs.map(({ name, value }) => [name.toString(), value.toString('hex')]),
      );
    }
    return row;
  });
}

function textField(key: string, bytes: Buffer): Record<string, string> {
  const text = bytes.toString('utf8');
  return Buffer.from(text).equals(bytes) ? { [key]: text } : { [`${key}64`]: bytes.toString('base64') };
}

/** Hard link groups are numbered by first meeting, which depends on the order of the walk. */
function withGroupsByFirstPath(rows: TreeRow[]): TreeRow[] {
  const first = new Map<number, string>();
  return rows.map((row) => {
    if (row.hardlinkGroup === undefined) return row;
    if (!first.has(row.hardlinkGroup)) first.set(row.hardlinkGroup, row.path ?? row.path64!);
    const { hardlinkGroup, ...rest } = row;
    return { ...rest, linkedTo: first.get(hardlinkGroup) };
  });
}

describe('every attribute and every byte of a golden image is read as nydusd reads it', () => {
  test.each(CASES)('$boot', ({ boot, tree, blobs }) => {
    const bootstrap = parseBootstrap(golden(`v6/${boot}.boot`), boot);
    const files = blobs.map((blob) => golden(`v6/${blob}.blob`));
    if (boot !== 'tiny-toc') {
      expect(bootstrap.blobs.map(({ id }) => id)).toEqual(files.map((file) => sha256(file).toString('hex')));
    }
    expect(withGroupsByFirstPath(describeTree(bootstrap, files))).toEqual(
      withGroupsByFirstPath(goldenTree(tree)),
    );
  });
});

/** Bytes of a directory in RAFS v5: for each name 8 more than it has, in blocks of 4096; one block for none. */
function sizeOfNames(rows: TreeRow[], directory: TreeRow): number {
  const path = pathOf(directory);
  const prefix = path === '/' ? path : `${path}/`;
  const names = rows
    .map(pathOf)
    .filter((other) => other !== '/' && other.startsWith(prefix))
    .map((other) => other.slice(prefix.length))
    .filter((name) => !name.includes('/'));
  const size = names.reduce((sum, name) => sum + name.length + 8, 0);
  return Math.max(Math.ceil(size / 4096), 1) * 4096;
}

/** One character per byte. */
function pathOf({ path, path64 }: TreeRow): string {
  return Buffer.from(path64 ?? path!, path64 === undefined ? 'utf8' : 'base64').toString('latin1');
}

describe('a RAFS v5 image is read as nydusd reads it', () => {
  // The chunk data of the image of three layers is that of the same layers in RAFS v6.
  const cases = [
    ['small', ['v5/small']],
    ['full', ['v6/full3', 'v6/full1', 'v6/full2']],
  ] as const;
  test.each(cases)('%s', (name, blobs) => {
    const bootstrap = parseBootstrap(golden(`v5/${name}.boot`), name);
    expect(bootstrap).toMatchObject({ version: 5, chunkSize: 1 << 20, prefetchNids: [1], rootNid: 1 });
    const files = blobs.map((blob) => golden(`${blob}.blob`));
    const rows = goldenTree(name);
    const expected = rows.map((row) =>
      row.dirSize === undefined ? row : { ...row, dirSize: sizeOfNames(rows, row) },
    );
    expect(withGroupsByFirstPath(describeTree(bootstrap, files))).toEqual(withGroupsByFirstPath(expected));
  });
});

describe('metadata is the same whatever the form of the data', () => {
  test.each([
    ['v6/tiny-encrypted', 'tiny'],
    ['ref/small-zran', 'small'],
    ['ref/tiny-tarfs', 'tiny'],
  ])('%s', (file, tree) => {
    const bootstrap = parseBootstrap(golden(`${file}.boot`), file);
    const expected = goldenTree(tree).map(({ sha256: _, ...row }) => row);
    expect(withGroupsByFirstPath(describeTree(bootstrap, undefined))).toEqual(
      withGroupsByFirstPath(expected),
    );
  });

  test('data without digests is not read', () => {
    const [blob] = parseBootstrap(golden('ref/tiny-tarfs.boot')).blobs;
    expect(() => BlobMeta.parseStored(Buffer.alloc(4096), blob!)).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringContaining('tarfs') }),
    );
  });
});

describe('nydus-image check lists the same', () => {
  const text = golden('json/check.txt').toString();

  test('inodes and chunks of v6/small', () => {
    const bytes = golden('v6/small.boot');
    const bootstrap = parseBootstrap(bytes);
    const meta = metaOf(bootstrap, golden('v6/small.blob'));
    const lines: string[] = [];
    for (const { path, inode } of walk(bootstrap)) {
      const kind = inode.type === 'file' && inode.nlink > 1 ? 'hardlink' : inode.type;
      lines.push(
        `${kind} "${path}" ino ${inode.nid} nlink ${inode.nlink} size ${inode.size} xattr ${inode.hasXattrs}`,
      );
      for (let k = 0; k < inode.chunkCount; k++) {
        const { blobIndex, chunkIndex, decodedOffset } = bootstrap.chunkAt(inode, k);
        const { storedOffset, storedSize, size } = meta.chunk(chunkIndex);
        const id = bootstrap.chunkDigest(blobIndex, chunkIndex)!.toString('hex');
        lines.push(`${id} ${chunkIndex} ${storedOffset}/${storedSize} ${decodedOffset}/${size}`);
      }
    }
    const inodeLine =
      /^inode: (\w+) "(.*)": index \d+ ino (\d+) .* i_nlink (\d+) i_size (\d+) .* has_xattr (\w+)/;
    const chunkLine = /chunk: id (\w+), index (\d+), .* compressed (\S+), uncompressed ([^\s,]+)/;
    const recorded = text
      .slice(0, text.indexOf('RAFS filesystem'))
      .trimEnd()
      .split('\n')
      .map((line) => {
        const inode = inodeLine.exec(line);
        if (inode) {
          const [, kind, path, ino, nlink, size, xattr] = inode;
          return `${kind} "${path}" ino ${ino} nlink ${nlink} size ${size} xattr ${xattr}`;
        }
        return chunkLine.exec(line)!.slice(1, 5).join(' ').replace(',', '');
      });
    expect(lines.sort()).toEqual(recorded.sort());
    expect(recorded.length).toBeGreaterThan(50);
  });

  test.each([
    'v6/full',
    'v6/small-batch',
    'v6/twin-dict',
    'v6/tiny-encrypted',
    'v6/tiny-bare',
    'v6/nodata',
    'v5/full',
    'v5/small',
    'ref/small-zran',
    'ref/tiny-tarfs',
  ])('blobs of %s', (file) => {
    const section = text.slice(text.indexOf(`== ${file}.boot`)).split('\n== ')[0]!;
    const recorded = [
      ...section.matchAll(
        /\t (\d+): (\w+), compressed size (\d+), uncompressed size (\d+), chunk size: (\d+), chunk count: (\d+)/g,
      ),
    ];
    const { blobs } = parseBootstrap(golden(`${file}.boot`));
    expect(
      blobs.map((b) =>
        [b.index, b.id, b.compressedSize, b.uncompressedSize, b.chunkSize, b.chunkCount].map(String),
      ),
    ).toEqual(recorded.map((match) => match.slice(1, 7)));
  });
});

function metaOf(bootstrap: Bootstrap, blobFile: Buffer): BlobMeta {
  const blob = bootstrap.blobs[0]!;
  const { offset, compressedSize } = blob.ci;
  return BlobMeta.parseStored(blobFile.subarray(offset, offset + compressedSize + 4096), blob);
}
