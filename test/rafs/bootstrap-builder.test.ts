import { describe, expect, test, vi } from 'vitest';
import { sha256 } from '../../src/codec/digest.js';
import { BlobBuilder } from '../../src/rafs/blob-builder.js';
import { parseBootstrap } from '../../src/rafs/bootstrap.js';
import { type BootstrapOptions, buildBootstrap } from '../../src/rafs/bootstrap-builder.js';
import type { BlobRef, Chunk, Inode, TreeNode } from '../../src/rafs/tree.js';

// Much computing: seconds on an idle machine, more on a busy one.
vi.setConfig({ testTimeout: 60_000 });

const COMMON = { uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0, xattrs: [] };

/** A node that is to stand in a directory under `name`, its bytes as latin1 text. */
type NamedNode = TreeNode & { name: string };

function dir(name: string, children: NamedNode[] = []): NamedNode {
  return {
    name,
    inode: { ...COMMON, type: 'dir', mode: 0o040755 },
    children: new Map(children.map((child) => [child.name, child])),
  };
}

function node(name: string | Buffer, inode: Partial<Inode> & { type: Inode['type'] }): NamedNode {
  const modes = {
    file: 0o100644,
    symlink: 0o120777,
    char: 0o020600,
    block: 0o060600,
    fifo: 0o010600,
    socket: 0o140600,
  };
  const mode = modes[inode.type as keyof typeof modes];
  return { name: Buffer.from(name).toString('latin1'), inode: { ...COMMON, mode, ...inode } as Inode };
}

/** A finished blob with one-byte chunks; every call of `chunk` gives another one. */
function blob(count: number, chunkSize = 4096): { ref: BlobRef; chunks: Chunk[] } {
  const builder = new BlobBuilder({ chunkSize, compressor: 'none', digester: 'sha256' });
  const chunks = Array.from({ length: count }, (_, i) => {
    const stored = Buffer.from([i]);
    return builder.addChunk({ digest: sha256(stored), crc: i + 1, size: 1, stored, compressed: false }).chunk;
  });
  builder.finish();
  return { ref: builder.ref, chunks };
}

function build(root: TreeNode, options: Partial<BootstrapOptions> = {}): Buffer {
  return buildBootstrap({
    root,
    blobs: [],
    chunkSize: 4096,
    compressor: 'zstd',
    digester: 'blake3',
    ...options,
  });
}

describe('what RAFS v6 cannot hold is an error that names the path and the limit', () => {
  const file = (inode: object) => node('f', { type: 'file', size: 0, chunks: [], ...inode } as never);
  const xattr = (name: string, value = '') =>
    file({ xattrs: [{ name: Buffer.from(name), value: Buffer.from(value) }] });
  const cases: [string, NamedNode, string, RegExp][] = [
    [
      'name of 256 bytes',
      node('n'.repeat(256), { type: 'fifo' }),
      'LIMIT_EXCEEDED',
      /^\/d\/n+: name of 256 bytes; .* 255$/,
    ],
    ['name with a slash', node('a/b', { type: 'fifo' }), 'UNSUPPORTED', /^\/d\/a\/b: /],
    [
      'target of 4096 bytes',
      node('l', { type: 'symlink', target: Buffer.alloc(4096, 'x') }),
      'LIMIT_EXCEEDED',
      /^\/d\/l: symlink target of 4096 bytes; .* 4095$/,
    ],
    ['empty target', node('l', { type: 'symlink', target: Buffer.alloc(0) }), 'UNSUPPORTED', /^\/d\/l: /],
    ['xattr namespace', xattr('system.nfs4_acl', 'x'), 'UNSUPPORTED', /^\/d\/f: .*system\.nfs4_acl/],
    [
      'xattr namespace as a prefix of another',
      xattr('system.posix_acl_accessory'),
      'UNSUPPORTED',
      /^\/d\/f: /,
    ],
    [
      'xattr name of 256 bytes',
      xattr(`user.${'n'.repeat(251)}`),
      'LIMIT_EXCEEDED',
      /^\/d\/f: xattr name of 256 bytes; .* 255$/,
    ],
    [
      'xattr value of 65536 bytes',
      xattr('user.big', 'v'.repeat(65536)),
      'LIMIT_EXCEEDED',
      /^\/d\/f: .*user\.big.* 65536 bytes; .* 65535$/,
    ],
    ['uid beyond 32 bits', file({ uid: 2 ** 32 }), 'LIMIT_EXCEEDED', /^\/d\/f: uid of 4294967296/],
    [
      'device major',
      node('c', { type: 'char', rdev: { major: 4096, minor: 0 } }),
      'LIMIT_EXCEEDED',
      /^\/d\/c: device major number of 4096/,
    ],
    [
      'device minor',
      node('c', { type: 'block', rdev: { major: 0, minor: 2 ** 20 } }),
      'LIMIT_EXCEEDED',
      /^\/d\/c: device minor number of 1048576/,
    ],
  ];
  test.each(cases)('%s', (_, child, code, message) => {
    expect(() => build(dir('', [dir('d', [child])]))).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });

  test('xattrs that together do not fit', () => {
    const xattrs = Array.from({ length: 5 }, (_, i) => ({
      name: Buffer.from(`user.${i}`),
      value: Buffer.alloc(60000),
    }));
    expect(() => build(dir('', [file({ xattrs })]))).toThrow(
      expect.objectContaining({ code: 'LIMIT_EXCEEDED' }),
    );
  });

  test('at the limits everything is kept', () => {
    const target = Buffer.alloc(4095, 't');
    const xattrs = [{ name: Buffer.from(`user.${'n'.repeat(250)}`), value: Buffer.alloc(65535, 'v') }];
    const bytes = build(
      dir('', [
        node('n'.repeat(255), { type: 'symlink', target, xattrs }),
        node('max', {
          type: 'char',
          uid: 2 ** 32 - 1,
          gid: 2 ** 32 - 1,
          rdev: { major: 4095, minor: 2 ** 20 - 1 },
        }),
      ]),
    );
    const bootstrap = parseBootstrap(bytes);
    const root = bootstrap.inode(bootstrap.rootNid);
    const link = bootstrap.inode(bootstrap.lookup(root, Buffer.from('n'.repeat(255)))!);
    expect(bootstrap.readlink(link).equals(target)).toBe(true);
    expect(bootstrap.xattrs(link)).toEqual(xattrs);
    expect(bootstrap.inode(bootstrap.lookup(root, Buffer.from('max'))!)).toMatchObject({
      uid: 2 ** 32 - 1,
      gid: 2 ** 32 - 1,
      rdev: { major: 4095, minor: 2 ** 20 - 1 },
    });
  });

  test('254 blobs are written, 255 refused', () => {
    const { chunks } = blob(1);
    const refs = Array.from({ length: 255 }, () => blob(1));
    const files = refs.map(({ chunks: [chunk] }, i) =>
      node(`f${i}`, { type: 'file', size: 1, chunks: [chunk!] }),
    );
    // Equal blobs have equal ids, which readers refuse; here only the count matters.
    const blobs = refs.map(({ ref }) => ref);
    expect(() => build(dir('', files), { blobs })).toThrow(
      expect.objectContaining({ code: 'LIMIT_EXCEEDED', message: expect.stringContaining('254') }),
    );
    expect(build(dir('', files.slice(1)), { blobs: blobs.slice(1) }).readUInt16LE(1024 + 86)).toBe(254);
    expect(chunks).toHaveLength(1);
  });
});

describe('layout', () => {
  test('without data the meta area overlays the head of the file', () => {
    const bytes = build(dir('', [node('fifo', { type: 'fifo' })]), { prefetch: [Buffer.from('/')] });
    const bootstrap = parseBootstrap(bytes);
    expect(bytes.readUInt32LE(1024 + 40), 'meta_blkaddr').toBe(0);
    expect(bytes.length).toBe(8192);
    expect(bootstrap.blobs).toEqual([]);
    expect(bootstrap.prefetchNids).toEqual([]);
    expect([...bootstrap.readdir(bootstrap.inode(128))].map(({ name }) => String(name))).toEqual([
      '.',
      '..',
      'fifo',
    ]);
  });

  test('blobs that nothing refers to are left out, and the others keep their order', () => {
    const [a, b, c] = [blob(1), blob(2), blob(3)];
    const root = dir('', [
      node('x', { type: 'file', size: 1, chunks: [c.chunks[2]!] }),
      node('y', { type: 'file', size: 1, chunks: [a.chunks[0]!] }),
    ]);
    const bootstrap = parseBootstrap(build(root, { blobs: [a.ref, b.ref, c.ref] }));
    expect(bootstrap.blobs.map(({ id, index }) => [id, index])).toEqual([
      [a.ref.id, 0],
      [c.ref.id, 1],
    ]);
    const x = bootstrap.inode(bootstrap.lookup(bootstrap.inode(128), Buffer.from('x'))!);
    expect(bootstrap.chunkAt(x, 0)).toEqual({ blobIndex: 1, chunkIndex: 2, decodedOffset: 8192 });
    expect(bootstrap.chunkDigest(1, 2)).toEqual(sha256(Buffer.from([2])));
    expect(bootstrap.chunkDigest(1, 0), 'not referred to, so not listed').toBeUndefined();
    expect(bootstrap.chunkDigest(2, 0)).toBeUndefined();
  });

  test('chunk indexes above 65535 keep their high bits', () => {
    const { ref, chunks } = blob(70000);
    const root = dir('', [node('f', { type: 'file', size: 1, chunks: [chunks[69999]!] })]);
    const bootstrap = parseBootstrap(build(root, { blobs: [ref] }));
    const f = bootstrap.inode(bootstrap.lookup(bootstrap.inode(128), Buffer.from('f'))!);
    expect(bootstrap.chunkAt(f, 0)).toEqual({ blobIndex: 0, chunkIndex: 69999, decodedOffset: 69999 * 4096 });
  });

  test('a tree deeper than the call stack', () => {
    const depth = 20_000;
    let at = dir('x');
    for (let i = 0; i < depth; i++) at = dir('x', [at]);
    const bootstrap = parseBootstrap(build(at));
    expect(bootstrap.inodeCount).toBe(depth + 1);
  });

  test('a directory of 600 long names, of exactly one block, and of one byte more', () => {
    // "." and ".." take 27 bytes; 12 more per name.
    for (const lengths of [
      Array(600).fill(200),
      [...Array(30).fill(120), 97],
      [...Array(30).fill(120), 98],
    ]) {
      const names = lengths.map((length: number, i: number) => `${i}`.padStart(3, '0').padEnd(length, 'n'));
      const bootstrap = parseBootstrap(
        build(
          dir(
            '',
            names.map((name) => node(name, { type: 'fifo' })),
          ),
        ),
      );
      const root = bootstrap.inode(bootstrap.rootNid);
      expect([...bootstrap.readdir(root)].map(({ name }) => String(name))).toEqual(
        ['.', '..', ...names].sort(),
      );
      for (const name of names) expect(bootstrap.lookup(root, Buffer.from(name))).toBeDefined();
      expect(bootstrap.lookup(root, Buffer.from('000'))).toBeUndefined();
      expect(bootstrap.lookup(root, Buffer.from('~'))).toBeUndefined();
    }
  });

  test('prefetch rules: in their order, covered and unknown ones dropped, relative ones refused', () => {
    const { ref, chunks } = blob(1);
    const f = node('f', { type: 'file', size: 1, chunks });
    const root = dir('', [dir('a', [f, dir('b')]), dir('c')]);
    const prefetch = ['/c', '/a/b', '/none', '/a', '/a/f', '/c/', '/a/..'].map((path) => Buffer.from(path));
    const bootstrap = parseBootstrap(build(root, { blobs: [ref], prefetch }));
    const find = (path: string) =>
      path
        .split('/')
        .slice(1)
        .reduce((nid, name) => bootstrap.lookup(bootstrap.inode(nid), Buffer.from(name))!, 128);
    expect(bootstrap.prefetchNids).toEqual([find('/c'), find('/a/b'), find('/a')]);
    expect(
      parseBootstrap(build(root, { blobs: [ref], prefetch: [Buffer.from('/'), Buffer.from('/c')] }))
        .prefetchNids,
    ).toEqual([128]);
    expect(() => build(root, { blobs: [ref], prefetch: [Buffer.from('c')] })).toThrow(
      expect.objectContaining({ code: 'USAGE' }),
    );
  });
});

describe('mistakes of the program are plain errors', () => {
  const { ref, chunks } = blob(1);
  const f = (inode: object) => dir('', [node('f', { type: 'file', size: 1, chunks, ...inode } as never)]);
  test.each<[string, TreeNode, Partial<BootstrapOptions>]>([
    ['a blob that is not given', f({}), {}],
    ['chunks that do not cover the file', f({ size: 5000 }), { blobs: [ref] }],
    ['a mode of another type', f({ mode: 0o040644 }), { blobs: [ref] }],
    ['a chunk size that is no power of two', f({}), { blobs: [ref], chunkSize: 5000 }],
    ['a chunk size other than the blob', f({}), { blobs: [ref], chunkSize: 8192 }],
  ])('%s', (_, root, options) => {
    expect(() => build(root, options)).toThrow(expect.objectContaining({ name: 'Error' }));
  });
});
