import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it, vi } from 'vitest';
import { convertLayout, goldenTar, makeLayout } from './layouts.js';
import { type Row, readImage } from './read-image.js';
import { makeTar } from './tar-writer.js';

// Conversions start threads, which takes its time on a machine that is busy.
vi.setConfig({ testTimeout: 120_000 });

interface GoldenRow {
  path?: string;
  path64?: string;
  target?: string;
  target64?: string;
  type: string;
  mode: string;
  uid: number;
  gid: number;
  nlink: number;
  mtime: number | null;
  mtimeNsec: number | null;
  size?: number;
  sha256?: string;
  rdev?: [number, number];
  xattrs?: Record<string, string>;
  hardlinkGroup?: number;
}

const bytesOf = (text: string | undefined, base64: string | undefined) =>
  Buffer.from(text ?? base64!, text === undefined ? 'base64' : 'utf8').toString('latin1');

function goldenRows(name: string): Map<string, GoldenRow> {
  const url = new URL(`../../fixtures/golden/tree/${name}.json`, import.meta.url);
  const rows: GoldenRow[] = JSON.parse(readFileSync(url, 'utf8'));
  return new Map(rows.map((row) => [bytesOf(row.path, row.path64), row]));
}

/**
 * Where umoci's result is not what the layers say, with what they say:
 * - a null time is that of the unpacking, as no layer has an entry for the directory: ours is 0;
 * - the far time did not fit the file system that was unpacked to;
 * - umoci leaves out trusted.overlay.*, which would be taken for its own; in an image it is data like any other;
 * - Go's tar reader drops PAX records without a value; an empty xattr is one all the same.
 */
function correct(path: string, row: GoldenRow): GoldenRow {
  const fixed = { ...row, mtime: row.mtime ?? 0, mtimeNsec: row.mtimeNsec ?? 0, xattrs: { ...row.xattrs } };
  if (path === '/times/far-base256') Object.assign(fixed, { mtime: 2 ** 34, mtimeNsec: 0 });
  if (path === '/xattrs/opaque-style') fixed.xattrs['trusted.overlay.opaque'] = '79';
  if (path === '/xattrs/user') fixed.xattrs['user.empty'] = '';
  return fixed;
}

/** The members that are compared, in one form for both sides. */
function compare(rows: Map<string, Row>, golden: Map<string, GoldenRow>): void {
  const found = [...rows.values()].map((row) => ({
    path: row.path,
    type: row.type,
    mode: row.mode.toString(8).padStart(6, '0'),
    owner: [row.uid, row.gid],
    nlink: row.nlink,
    mtime: [row.mtimeSec, row.mtimeNsec],
    content: [row.size, row.sha256],
    rdev: row.rdev,
    target: row.target,
    xattrs: row.xattrs,
  }));
  const groups = new Map<number, Set<number>>();
  const wanted = [...golden].map(([path, raw]) => {
    const row = correct(path, raw);
    if (row.hardlinkGroup !== undefined) {
      groups.set(
        row.hardlinkGroup,
        (groups.get(row.hardlinkGroup) ?? new Set()).add(rows.get(path)?.nid ?? -1),
      );
    }
    return {
      path,
      type: row.type,
      mode: row.mode,
      owner: [row.uid, row.gid],
      nlink: row.nlink,
      mtime: [row.mtime, row.mtimeNsec],
      content: row.type === 'file' ? [row.size, row.sha256] : [undefined, undefined],
      rdev: row.rdev,
      target: row.type === 'symlink' ? bytesOf(row.target, row.target64) : undefined,
      xattrs: row.xattrs,
    };
  });
  const byPath = (a: { path: string }, b: { path: string }) => (a.path < b.path ? -1 : 1);
  expect(found.sort(byPath)).toEqual(wanted.sort(byPath));
  for (const nids of groups.values()) expect(nids.size, 'names of one inode').toBe(1);
}

describe('the golden layers', () => {
  it.each(['gzip', 'zstd', 'none'] as const)(
    'full, from %s layers, is what umoci unpacks',
    async (compression) => {
      const layers = ['full1', 'full2', 'full3'].map((name) => ({ tar: goldenTar(name), compression }));
      const { dir, summary } = await convertLayout(makeLayout(layers));
      const image = await readImage(dir);
      compare(image.rows, goldenRows('full-umoci'));
      expect(summary.layers.map(({ entries }) => entries)).toEqual([739, 21, 5]);
      expect(summary.warnings).toEqual([]);
    },
  );

  it.each([
    { chunkSize: 0x1000, batchSize: 0x1000 },
    { chunkSize: 0x10000, batchSize: 1 << 20 },
    { compressor: 'lz4_block' as const },
    { compressor: 'none' as const },
  ])('full with $chunkSize $batchSize $compressor reads back the same', async (options) => {
    const layers = ['full1', 'full2', 'full3'].map((name) => goldenTar(name));
    const { dir } = await convertLayout(makeLayout(layers), options);
    compare((await readImage(dir)).rows, goldenRows('full-umoci'));
  });

  it('small and tiny are what nydusd shows of them', async () => {
    for (const [tree, layers] of [
      ['small', ['small']],
      ['twin', ['twin']],
      ['tiny', ['tiny1']],
    ] as const) {
      const { dir } = await convertLayout(makeLayout(layers.map(goldenTar)));
      compare((await readImage(dir)).rows, goldenRows(tree));
    }
  });
});

describe('layers that the Nydus builder refuses or takes wrongly', () => {
  const rowsOf = async (...layers: Buffer[]) => {
    const { dir, summary } = await convertLayout(makeLayout(layers));
    return { ...(await readImage(dir)), summary };
  };
  const text = (value: string) => createHash('sha256').update(value).digest('hex');

  it('a hard link to a symlink', async () => {
    const { rows } = await rowsOf(goldenTar('refused-hardlink-to-symlink'));
    expect(rows.get('/hard')).toMatchObject({ type: 'symlink', target: 'target', nlink: 2 });
    expect(rows.get('/hard')!.nid).toBe(rows.get('/symlink')!.nid);
    expect(rows.get('/target')!.sha256).toBe(text('t\n'));
  });

  it('a hard link to a device', async () => {
    const { rows } = await rowsOf(goldenTar('refused-hardlink-to-device'));
    expect(rows.get('/hard')).toMatchObject({ type: 'char', rdev: [1, 3], nlink: 2 });
    expect(rows.get('/hard')!.nid).toBe(rows.get('/null')!.nid);
  });

  it('a hard link to a file of a lower layer', async () => {
    // The golden layer stands alone; its target is a file of the layer that is put below it here.
    const lower = makeTar([{ name: 'elsewhere/file', data: 'lower\n' }]);
    const { rows } = await rowsOf(lower, goldenTar('refused-hardlink-to-lower-layer'));
    expect(rows.get('/hard')).toMatchObject({ type: 'file', nlink: 2, sha256: text('lower\n') });
    expect(rows.get('/hard')!.nid).toBe(rows.get('/elsewhere/file')!.nid);
    await expect(rowsOf(goldenTar('refused-hardlink-to-lower-layer'))).rejects.toThrow(
      /entry "hard": hard link to "elsewhere\/file", which is not there/,
    );
  });

  it('an xattr of a namespace that RAFS has no place for: left out, as umoci does, with a warning', async () => {
    const { rows, summary } = await rowsOf(goldenTar('refused-xattr-namespace'));
    expect(rows.get('/f')).toMatchObject({ sha256: text('f\n'), xattrs: {} });
    expect(summary.warnings).toEqual([expect.stringContaining('entry "f": the xattr system.nfs4_acl')]);
  });

  it('an old GNU sparse entry, here without data', async () => {
    const { rows } = await rowsOf(goldenTar('refused-gnu-sparse-old'));
    expect(rows.get('/sparse')).toMatchObject({ type: 'file', size: 0 });
  });

  it('a contiguous file, and a global header', async () => {
    for (const name of ['refused-contiguous', 'refused-pax-global']) {
      const { rows } = await rowsOf(goldenTar(name));
      expect([...rows.keys()], name).toEqual(['/', '/f']);
      expect(rows.get('/f')!.sha256).toBe(text('f\n'));
    }
  });

  it('parents that have no entry', async () => {
    const { rows } = await rowsOf(goldenTar('odd-implied-parents'));
    expect([...rows.keys()].sort()).toEqual([
      '/',
      '/implied',
      '/implied/file',
      '/implied2',
      '/implied2/parent',
      '/implied2/parent/file',
      '/z',
      '/z/f',
    ]);
    expect(rows.get('/implied/file')!.sha256).toBe(text('expected at /implied/file\n'));
    expect(rows.get('/implied2/parent')).toMatchObject({ mode: 0o040755, uid: 0, mtimeSec: 0 });
  });

  it('a PAX sparse file is expanded', async () => {
    const { rows } = await rowsOf(goldenTar('odd-sparse-pax'));
    const content = Buffer.alloc(1 << 20);
    content.write('hello', 4096);
    content.write('end', 524288);
    expect(rows.get('/sparse/pax1.0')).toMatchObject({
      size: 1 << 20,
      sha256: text(content.toString('latin1')),
    });
  });

  it('a negative base-256 time, and ./ names with a root entry', async () => {
    const time = await rowsOf(goldenTar('odd-mtime-negative-base256'));
    expect(time.rows.get('/f')).toMatchObject({ mtimeSec: -86400, mtimeNsec: 0 });
    const dots = await rowsOf(goldenTar('odd-v7-dot-slash'));
    expect(dots.rows.get('/')).toMatchObject({ mode: 0o040700, uid: 3 });
    expect(dots.rows.get('/f')!.sha256).toBe(text('f\n'));
  });
});
