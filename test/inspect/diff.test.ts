import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { convertImage } from '../../src/convert/convert.js';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { checkImage } from '../../src/inspect/check-image.js';
import { differencesText } from '../../src/inspect/compare.js';
import { diffImages } from '../../src/inspect/diff-images.js';
import { makeTar, type TarItem } from '../convert/tar-writer.js';
import { goldenLayout } from '../mount/layouts.js';
import { writeLayerImage } from '../support/layer-image.js';
import { plant } from './planted-image.js';
import { watchSource } from './watched-source.js';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rafter-diff-'));
});
afterAll(() => rm(dir, { recursive: true }));

const layout = (tag: string) => new LayoutSource({ transport: 'oci', path: join(dir, 'layout'), tag });

/** An ordinary image of one layer, tag `name`. */
async function ordinary(name: string, items: TarItem[]): Promise<LayoutSource> {
  const file = join(dir, `${name}.tar`);
  writeFileSync(file, makeTar(items));
  await writeLayerImage(join(dir, 'layout'), name, [file]);
  return layout(name);
}

/** The same converted, tag `name-CHUNKSIZE`. */
async function converted(name: string, chunkSize: number): Promise<LayoutSource> {
  const path = join(dir, 'layout');
  const tag = `${name}-${chunkSize}`;
  const target = new LayoutTarget({ transport: 'oci', path, tag });
  await convertImage({
    source: layout(name),
    target,
    sourceReference: `oci:${path}:${name}`,
    options: { chunkSize },
  });
  return layout(tag);
}

const lines = async (before: LayoutSource, after: LayoutSource) =>
  (await diffImages(before, after)).map(
    ({ kind, path, differences }) => `${kind} ${path}: ${differencesText(differences)}`,
  );

const big = (change: number) => {
  const bytes = Buffer.alloc(300_000, 'some text ');
  if (change >= 0) bytes[change]! ^= 1;
  return bytes;
};

const before: TarItem[] = [
  { name: 'dir/', type: '5', mode: 0o755 },
  { name: 'dir/same', data: Buffer.from('same') },
  { name: 'dir/mode', data: Buffer.from('x'), mode: 0o644 },
  { name: 'dir/gone', data: Buffer.from('gone') },
  { name: 'dir/big', data: big(-1) },
  { name: 'dir/type', data: Buffer.from('x') },
  { name: 'dir/link', type: '2', link: 'same' },
  { name: 'dir/hard', type: '1', link: 'dir/same' },
];
const after: TarItem[] = [
  { name: 'dir/', type: '5', mode: 0o755 },
  { name: 'dir/same', data: Buffer.from('same') },
  { name: 'dir/mode', data: Buffer.from('x'), mode: 0o600, uid: 7, mtime: 5 },
  { name: 'dir/big', data: big(200_000) },
  { name: 'dir/type', type: '2', link: 'x' },
  { name: 'dir/link', type: '2', link: 'big' },
  { name: 'dir/hard', data: Buffer.from('same') },
  { name: 'dir/new', data: Buffer.from('new') },
];

describe('two images', () => {
  beforeAll(async () => {
    await ordinary('before', before);
    await ordinary('after', after);
    for (const name of ['before', 'after'])
      for (const chunkSize of [4096, 1 << 20]) await converted(name, chunkSize);
  });

  const expected = (chunk: number) => [
    expect.stringMatching(new RegExp(`^changed /dir/big: content from byte ${chunk}$`)),
    'removed /dir/gone: ',
    'changed /dir/link: target same -> big',
    expect.stringMatching(
      /^changed \/dir\/mode: mode 0644 -> 0600, owner 0:0 -> 7:0, mtime .* -> 5\.000000000$/,
    ),
    'added /dir/new: ',
    'changed /dir/same: link /dir/hard -> /dir/same',
    'changed /dir/type: type file -> symlink',
  ];

  it.each([
    ['before', 'after', 0],
    ['before-4096', 'after-4096', 196608],
    ['before-1048576', 'after-4096', 0],
    ['before-4096', 'after', 196608],
    ['before', 'after-4096', 196608],
  ])('%s and %s', async (left, right, chunk) => {
    expect(await lines(layout(left), layout(right))).toEqual(expected(chunk));
  });

  it('are equal to themselves in every form', async () => {
    for (const tag of ['before', 'before-4096', 'before-1048576'])
      expect(await lines(layout('before'), layout(tag))).toEqual([]);
  });

  it('are compared without a byte of data if they have the same form', async () => {
    const left = watchSource(layout('before-4096'));
    const right = watchSource(layout('after-4096'));
    await diffImages(left.source, right.source);
    expect([...left.asked, ...right.asked].filter((what) => what.startsWith('range'))).toEqual([]);
  });

  it('are checked against their source', async () => {
    const good = await checkImage(layout('before-4096'), { original: layout('before') });
    expect(good.faults).toEqual([]);
    const { faults } = await checkImage(layout('before-4096'), { original: layout('after') });
    expect(faults).toContainEqual({
      part: 'content',
      path: '/dir/big',
      message: 'source -> image: content from byte 196608',
    });
    expect(faults).toContainEqual(
      expect.objectContaining({ path: '/dir/new', message: expect.stringMatching(/not in the image/) }),
    );
  });
});

describe('what nydusify made', () => {
  const platform = 'linux/amd64';

  it.each(['tiny-nydus', 'tiny-batch'])('has all that its source has: %s', async (name) => {
    const original = goldenLayout('tiny-src');
    expect((await checkImage(goldenLayout(name), { platform, original })).faults).toEqual([]);
  });

  it('is found out if it was changed', async () => {
    const changed = await plant(goldenLayout('tiny-nydus'), join(dir, 'planted'), {
      bootstrap: (bytes) => void bytes.write('konf', bytes.indexOf('conf', 0x3000), 'latin1'),
    });
    const { faults } = await checkImage(changed, { platform, original: goldenLayout('tiny-src') });
    expect(faults.map(({ part }) => part)).toContain('content');
  });
});
