import { describe, expect, it } from 'vitest';
import { expandPatterns } from '../../src/convert/prefetch-patterns.js';
import type { TreeNode } from '../../src/rafs/tree.js';

/** A tree of the files with these paths, as bytes in latin1. */
function treeOf(paths: string[]): TreeNode {
  const node = (): TreeNode => ({ children: new Map() }) as unknown as TreeNode;
  const root = node();
  for (const path of paths) {
    let at = root;
    for (const name of path.split('/').filter(Boolean)) {
      const next = at.children!.get(name) ?? node();
      at.children!.set(name, next);
      at = next;
    }
  }
  return root;
}

const root = treeOf([
  '/usr/lib/libz.so.1',
  '/usr/lib/liba.so',
  '/usr/lib/.hidden.so',
  '/usr/lib/python3/os.py',
  '/usr/lib/python3/deep/er/mod.py',
  '/app/a[1]',
  '/app/a1',
  `/app/${Buffer.from('größe').toString('latin1')}`,
  '/app/\xff\xfe.bin',
]);
const expand = (patterns: string[], options?: { maxMatches: number }) => {
  const { paths, unmatched } = expandPatterns(root, patterns, options);
  return { paths: paths.map((path) => path.toString()), unmatched };
};
const found = (...patterns: string[]) => expand(patterns).paths;

describe('a pattern', () => {
  it('without special characters is a path', () => {
    expect(expand(['/usr/lib/liba.so', '/usr/lib', '/', '/none'])).toEqual({
      paths: ['/usr/lib/liba.so', '/usr/lib', '/'],
      unmatched: ['/none'],
    });
  });

  it('names what it matches, in the order of the bytes, dots too, for each pattern in turn', () => {
    expect(found('/usr/lib/*.so*')).toEqual([
      '/usr/lib/.hidden.so',
      '/usr/lib/liba.so',
      '/usr/lib/libz.so.1',
    ]);
    expect(found('/usr/**/*.py', '/usr/lib/lib?.so')).toEqual([
      '/usr/lib/python3/deep/er/mod.py',
      '/usr/lib/python3/os.py',
      '/usr/lib/liba.so',
    ]);
    expect(found('/usr/lib/{liba,libz}.so{,.1}')).toEqual(['/usr/lib/liba.so', '/usr/lib/libz.so.1']);
  });

  it('that matches a directory names nothing below it, and never the whole tree', () => {
    expect(found('/usr/lib/**')).toEqual(['/usr/lib']);
    expect(found('/usr/*/*')).toContain('/usr/lib/python3');
    expect(found('/**')).toEqual(['/app', '/usr']);
  });

  it('that is a name means that first; a backslash takes the meaning away', () => {
    expect(found('/app/a[1]')).toEqual(['/app/a[1]']);
    expect(found('/app/a[0-9]')).toEqual(['/app/a1']);
    expect(found('/app/a\\[*')).toEqual(['/app/a[1]']);
  });

  it('is compared as characters, also with names that are none', () => {
    expect(found('/app/gr?ße')).toEqual(['/app/größe']);
    const { paths } = expandPatterns(root, ['/app/*.bin']);
    expect(paths).toEqual([Buffer.from('/app/\xff\xfe.bin', 'latin1')]);
  });

  it('that names nothing is told', () => {
    expect(expand(['/usr/*.exe', '/app/a1']).unmatched).toEqual(['/usr/*.exe']);
  });
});

it('there may be so many, and no more', () => {
  expect(expand(['/usr/lib/*.so*'], { maxMatches: 3 }).paths).toHaveLength(3);
  expect(() => expand(['/usr/lib/*.so*'], { maxMatches: 2 })).toThrow(
    expect.objectContaining({ code: 'LIMIT_EXCEEDED' }),
  );
});
