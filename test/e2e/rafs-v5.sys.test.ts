import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkImage } from '../../src/inspect/check-image.js';
import { openImage } from '../../src/inspect/open-image.js';
import { unpackImage } from '../../src/inspect/unpack.js';
import { type CommandLine, createCommandLine } from '../support/command-line.js';
import { createBuilder, type FieldImage, writeFieldLayout } from '../support/field-image.js';
import { random } from '../support/mutate.js';
import { takeApart } from '../support/nydus-layout.js';
import { startNydusd } from '../support/nydusd.js';
import { missingPrograms, peerOrSkip } from '../support/programs.js';
import { compareTrees, readTree, type Tree, type TreeField } from '../support/tree.js';

type Builder = ReturnType<typeof createBuilder>;

const V5 = ['--fs-version', '5'];
const DIR = [...V5, '--type', 'dir-rafs'];
const TAR = [...V5, '--type', 'tar-rafs', '--whiteout-spec', 'none'];

let rafter: CommandLine;
let source: string;
let tar: string;
let upper: string;
let expected: Tree;

beforeAll(async () => {
  rafter = createCommandLine();
  source = join(rafter.dir, 'source');
  writeTree(source);
  tar = join(rafter.dir, 'layer.tar');
  execFileSync('tar', ['--sort=name', '--xattrs', '-C', source, '-cf', tar, '.']);
  upper = join(rafter.dir, 'upper.tar');
  const added = join(rafter.dir, 'added');
  mkdirSync(added);
  writeFileSync(join(added, 'only-above'), 'above');
  copyFileSync(join(source, 'text'), join(added, 'text-again'));
  execFileSync('tar', ['-C', added, '-cf', upper, 'only-above', 'text-again']);
  expected = await readTree(source);
});

afterAll(async () => expect(await rafter?.remove()).toEqual([]));

function writeTree(root: string): void {
  const next = random(5);
  const noise = (size: number) => Buffer.from(Array.from({ length: size }, () => next(256)));
  mkdirSync(join(root, 'dir/deep/deeper'), { recursive: true });
  const put = (name: string, content: string | Buffer) => writeFileSync(join(root, name), content);
  for (const size of [0, 1, 4095, 4096, 4097, 70_000]) put(`dir/noise-${size}`, noise(size));
  put('text', 'RAFS of the fifth version. '.repeat(100_000));
  put('zeros', Buffer.alloc(3 << 20));
  put('!before-dot', 'x');
  for (let i = 0; i < 60; i++) put(`dir/deep/${i}`, `${i}`);
  linkSync(join(root, 'dir/noise-70000'), join(root, 'dir/deep/deeper/hard'));
  symlinkSync('../'.repeat(1300), join(root, 'dir/long'));
  symlinkSync('text', join(root, 'link'));
  execFileSync('setfattr', ['-n', 'user.one', '-v', '0x00ff00', join(root, 'text')]);
  execFileSync('mknod', [join(root, 'device'), 'c', '4095', '1048575']);
  execFileSync('mkfifo', [join(root, 'dir/fifo')]);
  execFileSync('chown', ['70000:4294967294', join(root, 'zeros')]);
  lutimesSync(join(root, 'link'), -100_000, -100_000);
}

/** A layer's blob whose chunks are partly in another image. */
async function withDictionary(builder: Builder, name: string): Promise<FieldImage> {
  const first = await builder.create(`${name}-first`, join(source, 'dir'), DIR);
  const image = await builder.create(name, source, [...DIR, '--chunk-dict', `bootstrap=${first.bootstrap}`]);
  for (const blob of readdirSync(first.objects))
    copyFileSync(join(first.objects, blob), join(image.objects, blob));
  return image;
}

const create =
  (args: string[], from = () => source) =>
  (builder: Builder, name: string) =>
    builder.create(name, from(), [...DIR, ...args]);

const FORMS: [string, (builder: Builder, name: string) => Promise<FieldImage>][] = [
  ['defaults', create([])],
  ['lz4 in 4 KiB chunks', create(['--compressor', 'lz4_block', '--chunk-size', '0x1000'])],
  [
    'raw, SHA-256, 16 MiB chunks',
    create(['--compressor', 'none', '--digester', 'sha256', '--chunk-size', '0x1000000']),
  ],
  ['aligned chunks, start-up files first', create(['--aligned-chunk', '--prefetch-policy', 'fs'])],
  ['a chunk dictionary', withDictionary],
  ['a tar with its bootstrap inside', (builder, name) => builder.merge(name, [tar], TAR)],
];

/** nydus-image drops the root's own time, and from a tar all fractions of seconds. */
const lostFromDirectory = (path: string, field: TreeField) => path === '/' && field === 'mtime';
const lostFromTar = (_path: string, field: TreeField) => field === 'mtime';
let made = 0;

describe.skipIf(missingPrograms('setfattr', 'mknod', 'mkfifo', 'tar'))(
  'RAFS v5 images of nydus-image',
  () => {
    it.for(FORMS)('%s', async ([form, make], ctx) => {
      const name = `v5-${made++}`;
      const image = await make(createBuilder(peerOrSkip(ctx, 'nydus-image'), rafter.dir), name);
      const layout = await writeFieldLayout(image, join(rafter.dir, name, 'layout'));
      const opened = await openImage(layout);
      expect(opened.bootstrap.version).toBe(5);
      const target = join(rafter.dir, name, 'tree');
      await unpackImage(opened, target);
      expect(
        compareTrees(
          expected,
          await readTree(target),
          form.includes('tar') ? lostFromTar : lostFromDirectory,
        ),
      ).toEqual([]);
      expect((await checkImage(layout, {})).faults).toEqual([]);
    });

    it('two layers, merged, are mounted as nydusd mounts them', async (ctx) => {
      const builder = createBuilder(peerOrSkip(ctx, 'nydus-image'), rafter.dir);
      const options = [...TAR, '--compressor', 'lz4_block', '--chunk-size', '0x10000'];
      const image = await builder.merge('two', [tar, upper], options);
      const layout = join(rafter.dir, 'two', 'layout');
      await writeFieldLayout(image, layout);
      const dir = join(rafter.dir, 'two-mounts');
      const ours = join(dir, 'ours');
      mkdirSync(ours, { recursive: true });
      await rafter.ok('mount', `oci:${layout}`, ours);
      const nydusd = await startNydusd(
        peerOrSkip(ctx, 'nydusd'),
        await takeApart(layout, 'latest', dir),
        dir,
      );
      try {
        const theirs = await readTree(nydusd.mountPoint);
        expect(theirs.get('/text-again')).toMatchObject({ sha256: expected.get('/text')!.sha256 });
        const startTime = (_path: string, field: TreeField, theirs: string, ours: string) =>
          field === 'mtime' && (theirs === '0' || ours === '0');
        expect(compareTrees(theirs, await readTree(ours), startTime)).toEqual([]);
      } finally {
        await nydusd.stop();
        await rafter.ok('umount', ours);
      }
    });
  },
);
