import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ociDigest } from '../../src/codec/digest.js';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { withStartupLayer } from '../../src/image/startup-layer.js';
import { checkImage } from '../../src/inspect/check-image.js';
import { openImage } from '../../src/inspect/open-image.js';
import { PackWriter } from '../../src/startup/pack-writer.js';
import { decodedBlob, goldenBootstrap } from '../mount/golden.js';
import { writeGoldenLayout } from '../mount/layouts.js';
import { storeBlob } from '../support/layout-image.js';

const PAGE = 4096;
let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rafter-check-'));
  await writeGoldenLayout('small', dir);
});
afterAll(() => rm(dir, { recursive: true }));

const [blob] = goldenBootstrap('small').blobs;
const { bytes: truth } = decodedBlob(blob!);
const platform = 'linux/amd64';

/** Faults of an image whose start-up pack has `pieces`. */
async function faultsOf(
  tag: string,
  pieces: [id: string, offset: number, bytes: Buffer][],
): Promise<string[]> {
  const { manifest, config } = await openImage(
    new LayoutSource({ transport: 'oci', path: dir, tag: 'latest' }),
  );
  const writer = new PackWriter();
  for (const piece of pieces) writer.add(...piece);
  const { parts } = writer.finish();
  const target = new LayoutTarget({ transport: 'oci', path: dir, tag });
  const head = { tableSize: parts[0]!.length, tableDigest: ociDigest(parts[0]!) };
  const pack = { ...(await storeBlob(target, 'any/type', Buffer.concat(parts))), ...head };
  const made = withStartupLayer({ manifest, config }, pack);
  await storeBlob(target, 'any/type', made.config.bytes);
  await target.putManifest(made.manifest.bytes, made.manifest.mediaType, { tag: true });
  await target.commit();
  const source = new LayoutSource({ transport: 'oci', path: dir, tag });
  const { faults } = await checkImage(source, { platform });
  return faults.filter(({ part }) => part === 'blob').map(({ message }) => message);
}

const page = (number: number) => truth.subarray(number * PAGE, (number + 1) * PAGE);

it('a pack of what the blob has is without faults', async () => {
  const pieces = [3, 0, 1].map((number): [string, number, Buffer] => [blob!.id, number * PAGE, page(number)]);
  expect(await faultsOf('good', pieces)).toEqual([]);
});

it('names each piece that is not what the image has there', async () => {
  const other = Buffer.from(page(1));
  other[17]! ^= 1;
  const end = truth.length;
  const faults = await faultsOf('bad', [
    [blob!.id, 0, page(0)],
    [blob!.id, PAGE, other],
    [blob!.id, end, Buffer.alloc(10)],
    ['ab'.repeat(32), 0, page(0)],
  ]);
  expect(faults).toEqual([
    `start-up pack: the piece from ${PAGE} to ${2 * PAGE} is not what the blob holds there`,
    `start-up pack: the piece from ${end} to ${end + 10} reaches behind the end of the blob`,
    `start-up pack: the piece from 0 to ${PAGE} is of a blob that the image has not`,
  ]);
});
