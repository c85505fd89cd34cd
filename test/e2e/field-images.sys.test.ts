import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  cpSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LayoutSource } from '../../src/image/layout/layout-source.js';
import { checkImage } from '../../src/inspect/check-image.js';
import { createContentReader } from '../../src/inspect/content.js';
import { openImage } from '../../src/inspect/open-image.js';
import { walk } from '../../src/rafs/walk.js';
import { createBuilder, type FieldImage, writeFieldLayout } from '../support/field-image.js';
import { random } from '../support/mutate.js';
import { peerOrSkip } from '../support/programs.js';
import { compareTrees, readTree, type Tree, type TreeField } from '../support/tree.js';

type Builder = ReturnType<typeof createBuilder>;

let dir: string;
let source: string;
let tar: string;
let gz: string;
/** Some of it, for images of two layers. */
let part: string;
let partTar: string;
let members: string;
let expected: Tree;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-field-'));
  source = join(dir, 'source');
  tar = join(dir, 'layer.tar');
  gz = join(dir, 'layer.tar.gz');
  writeOddTree(source);
  execFileSync('tar', ['--sort=name', '-C', source, '-cf', tar, '.']);
  writeFileSync(gz, gzipSync(readFileSync(tar)));
  members = join(dir, 'members.tar.gz');
  writeFileSync(members, membersOf(tar, 65_280));
  part = join(dir, 'part');
  mkdirSync(part);
  cpSync(join(source, 'sub'), join(part, 'sub'), { recursive: true, preserveTimestamps: true });
  writeFileSync(join(part, 'sub/text-17'), 'something else that the second layer replaces');
  partTar = join(dir, 'part.tar');
  execFileSync('tar', ['--sort=name', '-C', part, '-cf', partTar, '.']);
  expected = await readTree(source);
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Small files around every limit of the forms: AES blocks, pages, batches, chunks. */
function writeOddTree(root: string): void {
  const next = random(7);
  const noise = (size: number) => Buffer.from(Array.from({ length: size }, () => next(256)));
  const words = Array.from({ length: 300 }, () => `${next(1e6).toString(36)} `);
  const text = (size: number) =>
    Buffer.from(Array.from({ length: Math.ceil(size / 2) }, () => words[next(300)]).join('')).subarray(
      0,
      size,
    );
  mkdirSync(join(root, 'sub/deep'), { recursive: true });
  const put = (name: string, content: Buffer) => writeFileSync(join(root, name), content);
  for (const size of [0, 1, 14, 15, 16, 17, 4095, 4096, 4097, 32767, 32768, 65537])
    put(`sub/text-${size}`, text(size));
  for (const size of [15, 4096, 70_000]) put(`sub/noise-${size}`, noise(size));
  put('sub/zeros-15', Buffer.alloc(15));
  for (let i = 0; i < 40; i++) put(`sub/deep/${i}`, text(1 + next(5000)));
  put('long', Buffer.concat([text(1_200_000), noise(300_000), Buffer.alloc(700_000), text(1_000_001)]));
  put('copy', readFileSync(join(root, 'sub/text-65537')));
  symlinkSync('sub/deep/1', join(root, 'link'));
  linkSync(join(root, 'long'), join(root, 'hard'));
}

/** One tar in many gzip members, as parallel compressors write it. */
function membersOf(file: string, size: number): Buffer {
  const bytes = readFileSync(file);
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) parts.push(gzipSync(bytes.subarray(at, at + size)));
  return Buffer.concat(parts);
}

interface Form {
  name: string;
  make: (builder: Builder, name: string) => Promise<FieldImage>;
  /** Ordinary layers that the image refers to. */
  layers?: () => string[];
  /** Objects whose name is not their digest cannot be in a registry. */
  misnamed?: boolean;
}

const create = (name: string, args: string[], from: () => string = () => source): Form => ({
  name,
  make: (builder, folder) => builder.create(folder, from(), args),
});
const merged = (name: string, args: string[], from: () => string = () => tar): Form => ({
  name,
  make: (builder, folder) => builder.merge(folder, [from()], args),
});
const reference = (form: Form, ...files: (() => string)[]): Form => ({
  ...form,
  layers: () => files.map((file) => file()),
});

const DIR = ['--type', 'dir-rafs'];
const TAR = ['--type', 'tar-rafs', '--whiteout-spec', 'none'];
const TOC = ['--features', 'blob-toc'];

const FORMS: Form[] = [
  create('as a directory comes out', DIR),
  create('in 4 KiB chunks of LZ4', [...DIR, '--compressor', 'lz4_block', '--chunk-size', '0x1000']),
  create('in 16 MiB chunks', [...DIR, '--chunk-size', '0x1000000']),
  create('in batches of LZ4', [...DIR, '--compressor', 'lz4_block', '--batch-size', '0x40000']),
  create('in the smallest batches', [...DIR, '--chunk-size', '0x1000', '--batch-size', '0x1000']),
  create('in raw batches with SHA-256', [
    ...DIR,
    ...['--compressor', 'none', '--batch-size', '0x100000', '--digester', 'sha256'],
  ]),
  { ...create('with a table of contents', [...DIR, ...TOC, '--compressor', 'none']), misnamed: true },
  create('repeatable, start-up files first', [...DIR, '--repeatable']),
  merged('as nydusify packs layers', [...TAR, ...TOC, '--prefetch-policy', 'fs']),
  merged('as nydusify packs layers, in batches of large chunks', [
    ...TAR,
    ...TOC,
    ...['--chunk-size', '0x1000000', '--batch-size', '0x1000000'],
  ]),
  merged('inline without a table of contents', [...TAR, '--digester', 'sha256']),
  merged('of a gzip layer', ['--type', 'targz-rafs', ...TOC], () => gz),
  merged('of an eStargz layer', ['--type', 'estargz-rafs', ...TOC], () => gz),
  create('encrypted', [...DIR, '--encrypt']),
  create('encrypted in batches', [...DIR, '--encrypt', '--batch-size', '0x10000']),
  create('encrypted in small raw batches', [
    ...DIR,
    ...['--encrypt', '--compressor', 'none', '--chunk-size', '0x1000', '--batch-size', '0x1000'],
  ]),
  create('encrypted LZ4', [...DIR, '--encrypt', '--compressor', 'lz4_block', '--chunk-size', '0x1000']),
  merged('encrypted as nydusify packs layers', [...TAR, ...TOC, '--encrypt']),
  reference(
    create('referring to a gzip layer', ['--type', 'targz-ref'], () => gz),
    () => gz,
  ),
  reference(
    create(
      'referring to a gzip layer in 4 KiB chunks',
      ['--type', 'targz-ref', '--chunk-size', '0x1000'],
      () => gz,
    ),
    () => gz,
  ),
  reference(
    create(
      'referring to a gzip layer in 16 MiB chunks',
      ['--type', 'targz-ref', '--chunk-size', '0x1000000'],
      () => gz,
    ),
    () => gz,
  ),
  reference(
    merged('as nydusify --oci-ref', ['--type', 'targz-ref', ...TOC], () => gz),
    () => gz,
  ),
  reference(
    create('referring to an eStargz layer', ['--type', 'estargz-ref'], () => gz),
    () => gz,
  ),
  reference(
    create('referring to a layer of many gzip members', ['--type', 'targz-ref'], () => members),
    () => members,
  ),
  reference(
    create('referring to a plain layer', ['--type', 'targz-ref'], () => tar),
    () => tar,
  ),
  {
    name: 'of chunks in a dictionary',
    async make(builder, folder) {
      const dictionary = await builder.create(`${folder}-dictionary`, source, [
        ...DIR,
        '--chunk-size',
        '0x10000',
      ]);
      const args = [...DIR, '--chunk-size', '0x10000', '--chunk-dict', `bootstrap=${dictionary.bootstrap}`];
      return { ...(await builder.create(folder, source, args)), objects: dictionary.objects };
    },
  },
  {
    name: 'of two layers on a parent',
    async make(builder, folder) {
      const parent = await builder.create(`${folder}-parent`, part, DIR);
      const args = [...DIR, '--parent-bootstrap', parent.bootstrap, '--batch-size', '0x10000'];
      return builder.create(folder, source, args, parent.objects);
    },
  },
  {
    name: 'of two layers merged',
    make: (builder, folder) => builder.merge(folder, [partTar, tar], [...TAR, ...TOC]),
  },
  reference(
    {
      name: 'referring to two layers',
      make: (builder, folder) => builder.merge(folder, [partTar, gz], ['--type', 'targz-ref', ...TOC]),
    },
    () => partTar,
    () => gz,
  ),
];

let made = 0;
const freshName = () => `image${made++}`;

describe('images of nydus-image', () => {
  it.for(FORMS)('$name', async (form, ctx) => {
    const builder = createBuilder(peerOrSkip(ctx, 'nydus-image'), dir);
    const name = freshName();
    const image = await form.make(builder, name);
    const layout = await writeFieldLayout(image, join(dir, name, 'layout'), form.layers?.());
    expect(compareTrees(expected, await readImage(layout), isTime)).toEqual([]);
    if (form.misnamed) return;
    const { faults, chunks } = await checkImage(layout, {});
    expect(faults).toEqual([]);
    expect(chunks).toBeGreaterThan(40);
  });
});

it('tarfs has no digests of its chunks, and says so', async (ctx) => {
  const builder = createBuilder(peerOrSkip(ctx, 'nydus-image'), dir);
  const name = freshName();
  const image = await builder.create(name, tar, ['--type', 'tar-tarfs']);
  copyFileSync(tar, join(image.objects, createHash('sha256').update(readFileSync(tar)).digest('hex')));
  const layout = await writeFieldLayout(image, join(dir, name, 'layout'));
  for (const read of [readImage, (source: LayoutSource) => checkImage(source, {})]) {
    await expect(read(layout)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(/tarfs mode.*no digests of its chunks/),
    });
  }
});

/** The tree of an image without a mount. */
async function readImage(layout: LayoutSource): Promise<Tree> {
  const image = await openImage(layout);
  const content = createContentReader(image, { everything: true });
  const tree: Tree = new Map();
  for (const { path, inode } of walk(image.bootstrap)) {
    const { type, mode, uid, gid, nlink, size } = inode;
    const hash = createHash('sha256');
    if (type === 'file') for await (const piece of content.read(inode)) hash.update(piece);
    tree.set(path.toString('latin1'), {
      type,
      mode: (mode & 0o7777).toString(8).padStart(4, '0'),
      owner: `${uid}:${gid}`,
      nlink: type === 'dir' ? '' : String(nlink),
      mtime: '',
      size: type === 'file' || type === 'symlink' ? String(size) : '',
      rdev: '',
      target: type === 'symlink' ? image.bootstrap.readlink(inode).toString('latin1') : '',
      xattrs: '',
      sha256: type === 'file' ? hash.digest('hex') : '',
    });
  }
  return tree;
}

/** nydus-image keeps whole seconds of the times in a tar. */
function isTime(_path: string, field: TreeField): boolean {
  return field === 'mtime';
}
