import { describe, expect, it } from 'vitest';
import { collectLosses } from '../../src/convert/losses.js';
import { emptyTree, LayerOverlay } from '../../src/convert/overlay.js';
import type { TarEntryHead, TarEntryType } from '../../src/convert/tar-entry.js';
import type { TreeNode } from '../../src/rafs/tree.js';

type Entry = Partial<Omit<TarEntryHead, 'path' | 'linkTarget'>> & { link?: string };

function entry(path: string | Buffer, more: Entry = {}): TarEntryHead {
  const type: TarEntryType = more.type ?? (String(path).endsWith('/') ? 'dir' : 'file');
  const { link, ...rest } = more;
  return {
    path: Buffer.from(path as string),
    mode: type === 'dir' ? 0o755 : 0o644,
    uid: 0,
    gid: 0,
    mtimeSec: 1000,
    mtimeNsec: 0,
    rdev: { major: 0, minor: 0 },
    xattrs: [],
    size: 0,
    linkTarget: Buffer.from(link ?? ''),
    ...rest,
    type,
  };
}

const dir = (path: string, mode = 0o755, more: Entry = {}) => entry(`${path}/`, { ...more, mode });
const file = (path: string, size = 0) => entry(path, { size });
const symlink = (path: string, link: string) => entry(path, { type: 'symlink', link });
const hardlink = (path: string, link: string) => entry(path, { type: 'hardlink', link });

/** The tree after these layers. */
function stack(...layers: TarEntryHead[][]): TreeNode {
  const root = emptyTree();
  layers.forEach((entries, i) => {
    const overlay = new LayerOverlay(root, { layer: `layer ${i + 1}`, losses: collectLosses(false) });
    for (const each of entries) overlay.apply(each);
    overlay.finish();
  });
  return root;
}

/** `path` of every node with its mode for directories, size for files, target for symlinks; sorted. */
function show(root: TreeNode): string[] {
  const lines: string[] = [];
  const visit = (node: TreeNode, path: string) => {
    const { inode } = node;
    if (inode.type === 'dir') lines.push(`${path}/ ${(inode.mode & 0o7777).toString(8)}`);
    else if (inode.type === 'file') lines.push(`${path} ${inode.size}`);
    else if (inode.type === 'symlink') lines.push(`${path} -> ${inode.target}`);
    else lines.push(`${path} ${inode.type}`);
    for (const [name, child] of node.children ?? []) visit(child, `${path}/${name}`);
  };
  visit(root, '');
  return lines.sort();
}

const shown = (...layers: TarEntryHead[][]) => show(stack(...layers));
const at = (root: TreeNode, path: string) =>
  path.split('/').reduce<TreeNode | undefined>((node, name) => node?.children?.get(name), root);

describe('names', () => {
  it('leading slashes, dots and trailing slashes do not matter', () => {
    expect(shown([dir('./a'), file('/a/b', 1), file('./a//c/../d', 2), file('../../e', 3)])).toEqual(
      ['/ 755', '/a/ 755', '/a/b 1', '/a/d 2', '/e 3'].sort(),
    );
  });

  it('the root entry sets the attributes of the root', () => {
    const root = stack([file('a', 1)], [entry('./', { mode: 0o700, uid: 3 })]);
    expect(root.inode).toMatchObject({ mode: 0o040700, uid: 3 });
    expect(root.children!.size).toBe(1);
    expect(() => stack([symlink('.', 'x')])).toThrow('layer 1: entry ".": the root must be a directory');
  });

  it('a name may have 255 bytes and not one more', () => {
    expect(shown([file('n'.repeat(255))])).toHaveLength(2);
    expect(() => stack([file(`d/${'n'.repeat(256)}/f`)])).toThrow('a name has more than 255 bytes');
  });

  it('names that are not UTF-8 stay as they are', () => {
    const name = Buffer.from([0x66, 0xe9, 0xff, 0x0a]);
    const root = stack([entry(name)]);
    expect([...root.children!.keys()]).toEqual([name.toString('latin1')]);
  });
});

describe('entries over entries', () => {
  it('a directory over a directory keeps the children and takes the attributes', () => {
    expect(shown([dir('d', 0o755), file('d/a', 1)], [dir('d', 0o700)])).toEqual([
      '/ 755',
      '/d/ 700',
      '/d/a 1',
    ]);
  });

  it('everything else replaces: file over directory, directory over file, symlink over both', () => {
    const lower = [dir('d'), file('d/x'), file('f', 1), symlink('s', 'd')];
    expect(shown(lower, [file('d', 2)])).toEqual(['/ 755', '/d 2', '/f 1', '/s -> d']);
    expect(shown(lower, [dir('f', 0o711)])).toEqual(
      ['/ 755', '/d/ 755', '/d/x 0', '/f/ 711', '/s -> d'].sort(),
    );
    expect(shown(lower, [symlink('d', 'f')])).toEqual(['/ 755', '/d -> f', '/f 1', '/s -> d']);
    expect(shown(lower, [dir('s')])).toEqual(['/ 755', '/d/ 755', '/d/x 0', '/f 1', '/s/ 755'].sort());
  });

  it('the last of repeated entries in a layer counts', () => {
    expect(shown([file('f', 1), file('f', 2), dir('d', 0o700), file('d/a', 1), dir('d', 0o711)])).toEqual(
      ['/ 755', '/d/ 711', '/d/a 1', '/f 2'].sort(),
    );
    expect(shown([dir('x'), file('x/a', 1), file('x', 3), dir('x')])).toEqual(['/ 755', '/x/ 755']);
  });

  it('only the file that is still there is filled, but each one can be', () => {
    const overlay = new LayerOverlay(emptyTree(), { layer: 'l', losses: collectLosses(false) });
    expect(overlay.apply(file('f', 5))).toMatchObject({ type: 'file', size: 5, chunks: [] });
    expect(overlay.apply(dir('d'))).toBeUndefined();
    expect(overlay.apply(file('.wh.f', 5))).toBeUndefined();
    expect(overlay.apply(hardlink('g', 'f'))).toBeUndefined();
  });
});

describe('parents', () => {
  it('that never appear are made, 0755 root, time 0', () => {
    const root = stack([file('a/b/c', 1)]);
    expect(show(root)).toEqual(['/ 755', '/a/ 755', '/a/b/ 755', '/a/b/c 1']);
    expect(at(root, 'a')!.inode).toEqual({
      type: 'dir',
      mode: 0o040755,
      uid: 0,
      gid: 0,
      mtimeSec: 0,
      mtimeNsec: 0,
      xattrs: [],
    });
  });

  it('that a lower layer has keep what it said', () => {
    expect(shown([dir('a', 0o700), dir('a/b', 0o711)], [file('a/b/c', 1)])).toEqual([
      '/ 755',
      '/a/ 700',
      '/a/b/ 711',
      '/a/b/c 1',
    ]);
  });

  it('may come after their children', () => {
    expect(shown([file('a/b', 1), dir('a', 0o700)])).toEqual(['/ 755', '/a/ 700', '/a/b 1']);
  });

  it('cannot be files', () => {
    expect(() => stack([file('a')], [file('a/b')])).toThrow(
      'layer 2: entry "a/b": "a" in its path is not a directory',
    );
    expect(() => stack([file('a')], [file('a/b/c')])).toThrow('"a" in its path is not a directory');
  });
});

describe('symlinks as parents', () => {
  it('are followed inside the tree, those of lower layers too', () => {
    expect(shown([dir('usr'), dir('usr/lib', 0o711), symlink('lib', 'usr/lib')], [file('lib/x', 1)])).toEqual(
      ['/ 755', '/lib -> usr/lib', '/usr/ 755', '/usr/lib/ 711', '/usr/lib/x 1'].sort(),
    );
  });

  it('absolute or going up, never leave the tree', () => {
    expect(shown([symlink('abs', '/r/s'), file('abs/y', 1)])).toEqual(
      ['/ 755', '/abs -> /r/s', '/r/ 755', '/r/s/ 755', '/r/s/y 1'].sort(),
    );
    expect(shown([symlink('up', '../../../etc'), file('up/passwd', 1)])).toEqual(
      ['/ 755', '/etc/ 755', '/etc/passwd 1', '/up -> ../../../etc'].sort(),
    );
    expect(shown([dir('d'), symlink('d/up', '..'), file('d/up/x', 1)])).toEqual(
      ['/ 755', '/d/ 755', '/d/up -> ..', '/x 1'].sort(),
    );
  });

  it('a missing directory that the target leaves again is not made', () => {
    expect(shown([symlink('s', 'missing/../r'), file('s/x', 1)])).toEqual(
      ['/ 755', '/r/ 755', '/r/x 1', '/s -> missing/../r'].sort(),
    );
  });

  it('going in circles is an error', () => {
    expect(() => stack([symlink('l', 'm'), symlink('m', 'l'), file('l/x')])).toThrow(
      'layer 1: entry "l/x": more than 255 symlinks in its path',
    );
  });

  it('as the last component are replaced, not followed', () => {
    expect(shown([file('t', 1), symlink('s', 't')], [file('s', 2)])).toEqual(['/ 755', '/s 2', '/t 1']);
  });
});

describe('whiteouts', () => {
  const lower = [dir('d', 0o700), file('d/a', 1), dir('d/e', 0o711), file('d/e/x', 1), file('f', 1)];

  it('remove files and directories of lower layers and leave no trace', () => {
    expect(shown(lower, [file('.wh.f'), file('d/.wh.e'), file('.wh.never')])).toEqual([
      '/ 755',
      '/d/ 700',
      '/d/a 1',
    ]);
    expect(shown(lower, [file('.wh.d')])).toEqual(['/ 755', '/f 1']);
  });

  it('remove names of up to 255 bytes', () => {
    const long = 'n'.repeat(255);
    expect(shown([file(long)], [file(`.wh.${long}`)])).toEqual(['/ 755']);
    expect(() => stack([file(`.wh.${long}n`)])).toThrow('more than 255 bytes');
  });

  it('are dropped in the lowest layer, in new directories and below directories that are not there', () => {
    expect(
      shown([file('.wh.x'), dir('n'), file('n/.wh.y'), file('n/.wh..wh..opq'), file('gone/.wh.z')]),
    ).toEqual(['/ 755', '/n/ 755']);
  });

  it('do not touch their own layer, before or behind them', () => {
    for (const order of [
      [file('.wh.f'), file('f', 2)],
      [file('f', 2), file('.wh.f')],
    ]) {
      expect(shown(lower, order)).toEqual(
        ['/ 755', '/d/ 700', '/d/a 1', '/d/e/ 711', '/d/e/x 1', '/f 2'].sort(),
      );
    }
  });

  it('of a directory that the layer has too take the lower content only, whatever the order', () => {
    for (const order of [
      [file('.wh.d'), dir('d', 0o750), file('d/new', 2)],
      [dir('d', 0o750), file('d/new', 2), file('.wh.d')],
      [file('d/new', 2), file('.wh.d'), dir('d', 0o750)],
    ]) {
      expect(shown(lower, order)).toEqual(['/ 755', '/d/ 750', '/d/new 2', '/f 1'].sort());
    }
  });

  it('may come behind what they make room for, as may the directory itself', () => {
    const replaced = ['/ 755', '/d/ 700', '/d/a 1', '/d/e/ 711', '/d/e/x 1', '/f/ 755', '/f/new 2'].sort();
    expect(shown(lower, [file('f/new', 2), file('.wh.f')])).toEqual(replaced);
    expect(shown(lower, [file('f/new', 2), dir('f')])).toEqual(replaced);
    expect(shown(lower, [file('d/a/new', 2), file('d/.wh..wh..opq')])).toEqual(
      ['/ 755', '/d/ 700', '/d/a/ 755', '/d/a/new 2', '/f 1'].sort(),
    );
    expect(() => stack(lower, [file('f/new', 2), file('.wh.d')])).toThrow(
      '"f" in its path is not a directory',
    );
  });

  it('of a directory that the layer only passes through make it anew', () => {
    for (const order of [
      [file('.wh.d'), file('d/e/new', 2)],
      [file('d/e/new', 2), file('.wh.d')],
    ]) {
      expect(shown(lower, order)).toEqual(['/ 755', '/d/ 755', '/d/e/ 755', '/d/e/new 2', '/f 1'].sort());
    }
  });

  it('opaque markers empty the directory of what lower layers brought, wherever they stand', () => {
    for (const order of [
      [file('d/.wh..wh..opq'), file('d/new', 2), file('d/e/y', 3)],
      [file('d/new', 2), file('d/e/y', 3), file('d/.wh..wh..opq')],
    ]) {
      // d itself was not described: it keeps its attributes; e is made anew.
      expect(shown(lower, order)).toEqual(
        ['/ 755', '/d/ 700', '/d/e/ 755', '/d/e/y 3', '/d/new 2', '/f 1'].sort(),
      );
    }
    expect(shown(lower, [file('.wh..wh..opq'), file('only', 1)])).toEqual(['/ 755', '/only 1']);
  });

  it('empty a tree that symlinks have made deeper than any path', () => {
    // Each link leads a thousand directories deeper than the one before.
    const names = 'a/'.repeat(1000);
    const lower = Array.from({ length: 20 }, (_, i) => i).flatMap((i) => {
      const path = (i === 0 ? '' : `s${i - 1}/`) + names;
      return [dir(path.slice(0, -1)), symlink(`s${i}`, path)];
    });
    for (const marker of ['.wh..wh..opq', '.wh.a']) {
      let node = stack(lower, [file('s19/new', 1), file(marker)]);
      let depth = 0;
      for (let below = node.children!.get('a'); below; below = below.children?.get('a')) {
        node = below;
        depth++;
      }
      expect([depth, [...node.children!.keys()]]).toEqual([20_000, ['new']]);
    }
  });

  it('reach through a symlinked directory', () => {
    expect(shown([dir('r'), file('r/x'), symlink('s', 'r')], [file('s/.wh.x')])).toEqual([
      '/ 755',
      '/r/ 755',
      '/s -> r',
    ]);
  });

  it('remove a symlink, not what it points to', () => {
    expect(shown([dir('r'), file('r/x', 1), symlink('s', 'r')], [file('.wh.s')])).toEqual([
      '/ 755',
      '/r/ 755',
      '/r/x 1',
    ]);
  });

  it.each(['d/.wh.', 'd/.wh..', 'd/.wh...'])('%s is MALFORMED', (path) => {
    expect(() => stack(lower, [file(path)])).toThrow(/layer 2: entry .* a whiteout of "\.{0,2}"/);
  });

  it('AUFS bookkeeping is left out', () => {
    expect(shown([file('.wh..wh.aufs'), dir('.wh..wh.plnk', 0o700), file('.wh..wh.plnk/1.2', 5)])).toEqual([
      '/ 755',
    ]);
  });
});

describe('hard links', () => {
  it('share the inode across directories and types, whatever attributes they claim', () => {
    const root = stack([
      file('a', 7),
      entry('d/b', { type: 'hardlink', link: './a', mode: 0o777, uid: 9 }),
      symlink('s', 'a'),
      hardlink('s2', '/s'),
      entry('null', { type: 'char', rdev: { major: 1, minor: 3 } }),
      hardlink('null2', 'null'),
    ]);
    expect(at(root, 'd/b')!.inode).toBe(at(root, 'a')!.inode);
    expect(at(root, 'a')!.inode).toMatchObject({ mode: 0o100644, uid: 0 });
    expect(at(root, 's2')!.inode).toBe(at(root, 's')!.inode);
    expect(at(root, 'null2')!.inode).toBe(at(root, 'null')!.inode);
  });

  it('to a file of a lower layer, through a symlinked directory', () => {
    const root = stack([dir('usr'), file('usr/f', 4), symlink('u', 'usr')], [hardlink('new', 'u/f')]);
    expect(at(root, 'new')!.inode).toBe(at(root, 'usr/f')!.inode);
  });

  it('keep the old content when an upper layer replaces one of the names', () => {
    const root = stack([file('a', 1), hardlink('b', 'a')], [file('a', 2)]);
    expect(show(root)).toEqual(['/ 755', '/a 2', '/b 1']);
  });

  it('to itself changes nothing', () => {
    expect(shown([file('a', 1), hardlink('a', 'a')])).toEqual(['/ 755', '/a 1']);
  });

  it('to nothing or to a directory are errors', () => {
    expect(() => stack([hardlink('a', 'missing')])).toThrow(
      'layer 1: entry "a": hard link to "missing", which is not there',
    );
    expect(() => stack([dir('d'), hardlink('a', 'd')])).toThrow('hard link to the directory "d"');
    expect(() => stack([hardlink('a', '/')])).toThrow('hard link to the directory "/"');
  });
});

describe('what the format cannot hold', () => {
  const xattr = (name: string, value = 'x') => ({ name: Buffer.from(name), value: Buffer.from(value) });

  it('keeps the xattr namespaces that EROFS knows', () => {
    const names = [
      'user.a',
      'trusted.b',
      'security.capability',
      'system.posix_acl_access',
      'system.posix_acl_default',
    ];
    const root = stack([entry('f', { xattrs: names.map((name) => xattr(name)) })]);
    expect(at(root, 'f')!.inode.xattrs.map(({ name }) => name.toString())).toEqual(names);
  });

  it.each(['system.other', 'btrfs.compression', 'nodots', 'user', 'system.posix_acl_access.x'])(
    'refuses the xattr %s, or drops it with a warning',
    (name) => {
      const item = entry('f', { xattrs: [xattr(name), xattr('user.kept')] });
      expect(() => stack([item])).toThrow(/^layer 1: entry "f": the image format has no place/);
      const losses = collectLosses(true);
      const root = emptyTree();
      new LayerOverlay(root, { layer: 'layer 1', losses }).apply(item);
      expect(at(root, 'f')!.inode.xattrs).toHaveLength(1);
      expect(losses.warnings()).toEqual([expect.stringContaining(name)]);
    },
  );

  it('xattrs may have 255 and 65535 bytes and not one more', () => {
    const long = `user.${'k'.repeat(250)}`;
    expect(() => stack([entry('f', { xattrs: [xattr(long, 'v'.repeat(65535))] })])).not.toThrow();
    expect(() => stack([entry('f', { xattrs: [xattr(`${long}k`)] })])).toThrow('too large');
    expect(() => stack([entry('f', { xattrs: [xattr('user.k', 'v'.repeat(65536))] })])).toThrow('too large');
  });

  it('device numbers have 12 and 20 bits', () => {
    const device = (major: number, minor: number) => [entry('c', { type: 'char', rdev: { major, minor } })];
    expect(() => stack(device(4095, 1048575))).not.toThrow();
    expect(() => stack(device(4096, 0))).toThrow('layer 1: entry "c": device 4096:0 is beyond');
    expect(() => stack(device(0, 1048576))).toThrow('beyond');
  });

  it('a symlink has all permissions, as file systems have it, whatever the tar says', () => {
    const link = { ...symlink('s', 'x'), mode: 0o640 };
    expect(stack([link]).children?.get('s')?.inode.mode).toBe(0o120777);
  });

  it('a symlink to nothing is MALFORMED', () => {
    expect(() => stack([symlink('s', '')])).toThrow('layer 1: entry "s": a symlink to nothing');
  });
});

it('warnings are kept up to a limit, then counted', () => {
  const losses = collectLosses(false);
  for (let i = 0; i < 150; i++) losses.drop(`loss ${i}`);
  expect(losses.warnings()).toHaveLength(101);
  expect(losses.warnings().at(-1)).toBe('50 more');
});

describe('a directory that only a path asks for has a name that a directory can have', () => {
  const longest = 'n'.repeat(255);

  it('255 bytes, also by way of a symlink', () => {
    const root = stack([symlink('link', longest), file('link/f')]);
    expect(show(root)).toContain(`/${longest}/f 0`);
  });

  it.each([
    ['a symlink names it', [symlink('link', `${longest}n`), file('link/f')]],
    ['it looks like a whiteout', [file(`.wh.${longest}/f`)]],
  ])('256 bytes are refused where %s', (_, entries) => {
    expect(() => stack(entries)).toThrow(
      expect.objectContaining({
        code: 'LIMIT_EXCEEDED',
        message: expect.stringMatching(/^layer 1: entry ".*\/f": a name has more than 255 bytes$/),
      }),
    );
  });
});
