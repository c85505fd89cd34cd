import { ContentWatch } from '../../src/convert/startup/content-watch.js';
import { findStartup } from '../../src/convert/startup/find-startup.js';
import { ImageFiles } from '../../src/convert/startup/image-files.js';
import type { FileInode, TreeNode } from '../../src/rafs/tree.js';
import { makeElf } from '../convert/startup/sample-elf.js';
import { fuzz } from '../support/fuzz.js';
import { mutate, pick } from '../support/mutate.js';

const samples: [name: string, content: Buffer][] = [
  ['tool', makeElf({ interpreter: '/bin/ld.so', needed: ['liba.so', '../b'], rpath: '$ORIGIN/..:/lib' })],
  ['liba.so', makeElf({ needed: ['tool'], runpath: '/bin', padding: 100_000 })],
  ['script', Buffer.from('#!/usr/bin/env -S python3 -u\nimport os\nexec "$@" \'a b\'\n')],
  ['module.py', Buffer.from('try:\n  from ..a import (b,\n  c as d)\nexcept E:\n  pass\nimport x.y, z\n')],
  ['main.js', Buffer.from('const a = require("./b");\nimport c from \'d\'\n')],
  ['package.json', Buffer.from('{"main":"a.js","exports":{".":{"node":{"require":"./x"}}}}')],
  ['ld.so.conf', Buffer.from('include /etc/ld.so.conf.d/*.conf\n/lib # x\n')],
];
const common = { mode: 0o755, uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0, xattrs: [] };

async function* cut(bytes: Buffer, step: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step);
}

fuzz('damaged files of an image whose start is looked for', {
  name: 'files',
  refusesNothing: true,
  run: async (next) => {
    const watch = new ContentWatch({ python: true, node: true });
    const children = new Map<string, TreeNode>();
    for (const [name, content] of samples) {
      const bytes = mutate(content, next);
      const inode: FileInode = { ...common, type: 'file', size: bytes.length, chunks: [] };
      const path = Buffer.from(`bin/${next(8) === 0 ? pick(samples, next)[0] : name}`);
      const entry = { path, content: next(2) === 0 ? bytes : undefined, body: cut(bytes, 1 + next(5000)) };
      const passed = watch.watch(inode, entry);
      if (passed.content === undefined) for await (const _ of passed.body);
      children.set(name, { inode });
    }
    const bin: TreeNode = { inode: { ...common, type: 'dir' }, children };
    const root: TreeNode = { inode: { ...common, type: 'dir' }, children: new Map([['bin', bin]]) };
    const command = [`/bin/${pick(samples, next)[0]}`, `/bin/${pick(samples, next)[0]}`];
    findStartup(new ImageFiles(root, watch.facts), { Cmd: command, Env: ['PATH=/bin'] });
  },
});
