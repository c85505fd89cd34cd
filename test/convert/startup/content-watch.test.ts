import { buffer } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { ContentWatch, interpretersOf } from '../../../src/convert/startup/content-watch.js';
import type { FileFacts } from '../../../src/convert/startup/file-facts.js';
import type { FileInode } from '../../../src/rafs/tree.js';
import { makeElf } from './sample-elf.js';

const BOTH = { python: true, node: true };
const inode = (size: number): FileInode => ({
  type: 'file',
  ...{ mode: 0o100755, uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0, xattrs: [], size, chunks: [] },
});

/** Lets a file pass in pieces of `step` bytes, or in one; its bytes must come out as they were. */
async function factsOf(
  name: string,
  content: Buffer | string,
  { step, interpreters = BOTH }: { step?: number; interpreters?: typeof BOTH } = {},
): Promise<FileFacts | undefined> {
  const bytes = Buffer.from(content);
  const watch = new ContentWatch(interpreters);
  const file = inode(bytes.length);
  async function* pieces() {
    for (let at = 0; at < bytes.length; at += step!) yield Buffer.from(bytes.subarray(at, at + step!));
  }
  const entry = { path: Buffer.from(`x/${name}`), content: step ? undefined : bytes, body: pieces() };
  const passed = watch.watch(file, entry);
  if (step) expect((await buffer(passed.body)).equals(bytes)).toBe(true);
  return watch.facts.get(file);
}

const script = '#!/bin/sh -e\nif true; then\n  exec true\nfi\nexec "$@" >log\n';
const module = 'import os\nfrom . import a, b as c\n';

it.each<[string, string, Buffer | string, FileFacts]>([
  [
    'a program',
    'tool',
    makeElf({ interpreter: '/lib/ld.so', needed: ['libc.so.6', 'liba.so'], runpath: '$ORIGIN/../lib:/opt' }),
    {
      elf: {
        machine: 125,
        interpreter: '/lib/ld.so',
        needed: ['libc.so.6', 'liba.so'],
        rpath: [],
        runpath: ['$ORIGIN/../lib', '/opt'],
      },
    },
  ],
  [
    'a library whose dynamic section is far behind',
    'libbig.so',
    makeElf({ needed: ['libc.so.6'], rpath: '/a', padding: 9 << 20 }),
    { elf: { machine: 125, needed: ['libc.so.6'], rpath: ['/a'], runpath: [] } },
  ],
  ['a script', 'run', script, { shebang: ['/bin/sh', '-e'], exec: ['$@'] }],
  ['a Python module', 'm.py', module, { python: ['os', '.:a,b'] }],
  [
    'a Python script',
    'm',
    `#!/usr/bin/env python3\n${module}`,
    {
      shebang: ['/usr/bin/env', 'python3'],
      python: ['os', '.:a,b'],
    },
  ],
  ['a JavaScript module', 'm.js', "const a = require('./a')\nimport x from 'x'\n", { node: ['./a', 'x'] }],
  ['a package', 'package.json', '{"main":"a.js","exports":{".":{"require":"./b.cjs"}}}', { main: './b.cjs' }],
  [
    'a configuration of ld.so',
    'ld.so.conf',
    '# x\ninclude /etc/*.conf\n/opt # y\n',
    {
      lines: ['include /etc/*.conf', '/opt'],
    },
  ],
])('tells of %s, however it is cut', async (_, name, content, expected) => {
  expect(await factsOf(name, content)).toEqual(expected);
  for (const step of [content.length, 1 << 20, ...(content.length < 10_000 ? [1, 7] : [50_000])])
    expect(await factsOf(name, content, { step })).toEqual(expected);
});

it('says nothing of what it does not know, and reads modules only for interpreters that will run', async () => {
  const none = { python: false, node: false };
  expect(await factsOf('m.py', module, { interpreters: none })).toBeUndefined();
  expect(await factsOf('m.js', 'import "x"', { interpreters: none })).toBeUndefined();
  expect(await factsOf('package.json', '{"main":1')).toBeUndefined();
  expect(await factsOf('readme', 'words')).toBeUndefined();
  expect(await factsOf('short', Buffer.from('7f454c46', 'hex'))).toBeUndefined();
  const elf = makeElf({ needed: ['a'] });
  elf.writeUInt16LE(65, 56);
  expect(await factsOf('too many headers', elf)).toBeUndefined();
});

it('knows interpreters by command and environment', () => {
  expect(interpretersOf({ Cmd: ['/bin/true'] })).toEqual({ python: false, node: false });
  expect(interpretersOf({ Entrypoint: ['/e.sh'], Env: ['PYTHON_VERSION=3'] })).toEqual({
    python: true,
    node: false,
  });
  expect(interpretersOf({ Cmd: ['npm', 'start'] })).toEqual({ python: false, node: true });
});
