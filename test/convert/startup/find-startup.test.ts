import { expect, it } from 'vitest';
import { ContentWatch } from '../../../src/convert/startup/content-watch.js';
import { findStartup } from '../../../src/convert/startup/find-startup.js';
import { ImageFiles } from '../../../src/convert/startup/image-files.js';
import type { RunConfig } from '../../../src/image/config.js';
import type { Inode, TreeNode } from '../../../src/rafs/tree.js';
import { makeElf } from './sample-elf.js';

const PROGRAM = { interpreter: '/lib64/ld.so' };
const common = { mode: 0, uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0, xattrs: [] };

/** What a container of an image reads first that has these files, by path; `-> TARGET` is a symbolic link. */
function startupOf(paths: Record<string, Buffer | string>, config: RunConfig): string[] {
  const root: TreeNode = { inode: { ...common, type: 'dir' }, children: new Map() };
  const watch = new ContentWatch({ python: true, node: true });
  for (const [path, value] of Object.entries({ '/lib64/ld.so': makeElf({}), ...paths })) {
    const names = path.slice(1).split('/');
    const last = names.pop()!;
    let at = root;
    for (const name of names) {
      const next = at.children!.get(name) ?? {
        inode: { ...common, type: 'dir' as const },
        children: new Map(),
      };
      at.children!.set(name, next);
      at = next;
    }
    const content = Buffer.from(value);
    const target = /^-> (.*)$/.exec(content.toString('latin1'))?.[1];
    const inode: Inode =
      target === undefined
        ? { ...common, type: 'file', size: content.length, chunks: [] }
        : { ...common, type: 'symlink', target: Buffer.from(target) };
    at.children!.set(last, { inode });
    const body = (async function* () {})();
    if (inode.type === 'file') watch.watch(inode, { path: Buffer.from(path), content, body });
  }
  return findStartup(new ImageFiles(root, watch.facts), config).paths;
}

it('finds a program through PATH and links, and its libraries as ld.so does', () => {
  const files = {
    '/etc/passwd': 'root:x:0:0::/:/bin/sh',
    '/etc/ld.so.conf': 'include /etc/ld.so.conf.d/*.conf\n',
    '/etc/ld.so.conf.d/a.conf': '/opt/conf\n',
    '/etc/ld.so.cache': 'cache',
    '/bin/tool': '-> ../opt/app/bin/tool',
    '/opt/app/bin/tool': makeElf({
      ...PROGRAM,
      needed: ['liba.so', 'libb.so', 'libmissing.so'],
      runpath: '$ORIGIN/../lib',
    }),
    '/opt/app/lib/liba.so': makeElf({ needed: ['libc.so', 'liba.so'] }),
    '/usr/lib/liba.so': makeElf({}),
    '/opt/conf/libb.so': '-> libb.so.1',
    '/opt/conf/libb.so.1': makeElf({}),
    '/lib/libc.so': makeElf({ machine: 3 }),
    '/usr/lib/libc.so': makeElf({}),
    '/unused': makeElf({}),
  };
  const expected = [
    ...['/etc/passwd', '/opt/app/bin/tool', '/lib64/ld.so', '/etc/ld.so.cache'],
    ...['/opt/app/lib/liba.so', '/opt/conf/libb.so.1', '/usr/lib/libc.so'],
  ];
  expect(startupOf(files, { Cmd: ['tool', '-x'] })).toEqual(expected);
  expect(startupOf(files, { Entrypoint: ['./tool'], WorkingDir: '/bin' })).toEqual(expected);
  expect(startupOf(files, { Cmd: ['/bin/sh', '-c', 'tool'] })).toEqual([]);
});

it('follows scripts, env and wrappers to what they start', () => {
  const files = {
    '/bin/sh': makeElf(PROGRAM),
    '/usr/bin/env': makeElf(PROGRAM),
    '/usr/bin/tini': makeElf(PROGRAM),
    '/usr/bin/work': makeElf(PROGRAM),
    '/entry.sh': '#!/usr/bin/env sh\nset -e\nexec "$@"\n',
  };
  const config = { Entrypoint: ['/usr/bin/tini', '--', '/entry.sh'], Cmd: ['work', '-v'] };
  expect(startupOf(files, config)).toEqual([
    ...['/usr/bin/tini', '/lib64/ld.so', '/entry.sh', '/usr/bin/env', '/bin/sh', '/usr/bin/work'],
  ]);
  expect(startupOf(files, { Cmd: ['/bin/sh', '-c', 'A=1 exec work -v; echo'] })).toContain('/bin/sh');
  expect(startupOf(files, { Cmd: ['/bin/sh', '-c', 'exec work -v; echo'] })).toContain('/usr/bin/work');
  const loop = { '/a': '#!/b\n', '/b': '#!/a\n' };
  expect(startupOf(loop, { Cmd: ['/a'] })).toEqual(['/a', '/b']);
});

it('finds what Python imports, compiled where that is there', () => {
  const library = '/usr/lib/python3.11';
  const files = {
    '/usr/bin/python3': '-> python3.11',
    '/usr/bin/python3.11': makeElf(PROGRAM),
    [`${library}/os.py`]: 'import stat\n',
    [`${library}/encodings/__init__.py`]: 'from . import aliases\n',
    [`${library}/encodings/aliases.py`]: '',
    [`${library}/encodings/__pycache__/aliases.cpython-311.pyc`]: 'c',
    [`${library}/json/__init__.py`]: 'from .decoder import x\n',
    [`${library}/json/decoder.py`]: 'import _json, json.scanner\n',
    [`${library}/json/scanner.py`]: '#',
    [`${library}/json/tool.py`]: '#',
    [`${library}/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so`]: makeElf({ needed: ['libz.so'] }),
    '/usr/lib/libz.so': makeElf({}),
    '/usr/lib/python3/dist-packages/a.pth': '/x',
    '/usr/lib/python3/dist-packages/space/deep.py': '#',
    '/app/main.py': '#!/usr/bin/python3\nimport json\nfrom space import deep\nimport own\n',
    '/app/own.py': 'import main\n',
  };
  const expected = [
    ...['/usr/bin/python3.11', '/lib64/ld.so', `${library}/encodings/__init__.py`],
    ...[`${library}/encodings/__pycache__/aliases.cpython-311.pyc`, '/usr/lib/python3/dist-packages/a.pth'],
    ...['/app/main.py', `${library}/json/__init__.py`, `${library}/json/decoder.py`],
    ...[`${library}/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so`, '/usr/lib/libz.so'],
    ...[`${library}/json/scanner.py`, '/usr/lib/python3/dist-packages/space/deep.py', '/app/own.py'],
  ];
  expect(startupOf(files, { Entrypoint: ['python3'], Cmd: ['main.py'], WorkingDir: '/app' })).toEqual(
    expected,
  );
  expect(startupOf(files, { Cmd: ['/app/main.py'] }).toSorted()).toEqual(expected.toSorted());
  const code = startupOf(files, { Cmd: ['python3', '-c', 'import json.scanner'] });
  expect(code).toContain(`${library}/json/scanner.py`);
  expect(code).not.toContain('/app/own.py');
  expect(startupOf(files, { Cmd: ['python3', '-m', 'json.tool'] })).toContain(`${library}/json/tool.py`);
});

it('finds what Node.js requires', () => {
  const files = {
    '/usr/bin/node': makeElf(PROGRAM),
    '/app/package.json': '{}',
    '/app/main.js': "const a = require('./a');\nconst p = require('@s/p');\nconst fs = require('fs');\n",
    '/app/a/index.js': "require('../b.json');\n",
    '/app/b.json': '{}',
    '/node_modules/@s/p/package.json': '{"exports":{"require":"./p.cjs"}}',
    '/node_modules/@s/p/p.cjs': "require('./p.cjs')\n",
    '/app/unused.js': '',
  };
  expect(startupOf(files, { Cmd: ['node', '--flag', 'main'], WorkingDir: '/app' })).toEqual([
    ...[
      '/usr/bin/node',
      '/lib64/ld.so',
      '/app/package.json',
      '/app/main.js',
      '/app/a/index.js',
      '/app/b.json',
    ],
    ...['/node_modules/@s/p/package.json', '/node_modules/@s/p/p.cjs'],
  ]);
});

it('finds nothing where nothing is, and ends in loops of links', () => {
  expect(startupOf({ '/etc/passwd': 'x' }, {})).toEqual([]);
  expect(startupOf({ '/bin/a': '-> b', '/bin/b': '-> a' }, { Cmd: ['/bin/a'] })).toEqual([]);
});
