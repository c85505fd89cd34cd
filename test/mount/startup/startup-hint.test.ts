import { Readable } from 'node:stream';
import { describe, expect, it, vi } from 'vitest';
import { ociDigest } from '../../../src/codec/digest.js';
import type { Descriptor } from '../../../src/image/descriptor.js';
import { OCI_MANIFEST, STARTUP_PROFILE } from '../../../src/image/media-types.js';
import type { ImageSource } from '../../../src/image/source.js';
import { profileManifest } from '../../../src/image/startup-profile.js';
import { askForHint, hintedChunks } from '../../../src/mount/startup/startup-hint.js';
import { formatProfile, MAX_PROFILE_SIZE } from '../../../src/startup/profile.js';

const MIB = 1 << 20;
const subject = { mediaType: OCI_MANIFEST, digest: `sha256:${'5'.repeat(64)}`, size: 500 };
const profile = { blobs: ['a', 'b'], chunks: [{ blob: 1, first: 0, count: 2 }] };

interface Attached {
  manifest: Buffer;
  /** What the list of referrers says of it instead. */
  listed?: Partial<Descriptor>;
  blobs?: Buffer[];
}

const attached = (bytes: Buffer, time: string, of: Descriptor = subject): Attached => ({
  manifest: profileManifest(bytes, { subject: of, createdAt: new Date(time) }),
  blobs: [bytes],
});
const good = attached(formatProfile(profile), '2026-01-02T00:00:00Z');

function sourceWith(all: Attached[]): ImageSource {
  const list = all.map(({ manifest, listed }): Descriptor => {
    const { artifactType, annotations } = JSON.parse(manifest.toString());
    const digest = ociDigest(manifest);
    return { mediaType: OCI_MANIFEST, digest, size: manifest.length, artifactType, annotations, ...listed };
  });
  const blobs = all.flatMap((one) => one.blobs ?? []);
  const never = () => Promise.reject(new Error('not to be called'));
  return {
    name: 'some/image',
    resolve: never,
    readBlobRange: never,
    close: async () => {},
    listReferrers: async () => list,
    readManifest: async (descriptor) => all[list.indexOf(descriptor)]!.manifest,
    openBlob: async ({ digest, data }) =>
      Readable.from([data ? Buffer.from(data, 'base64') : blobs.find((one) => ociDigest(one) === digest)]),
  };
}

async function ask(source: ImageSource) {
  const onWarning = vi.fn();
  const hint = askForHint({ source, manifest: subject, onWarning });
  const found = await hint.profile;
  await hint.stop();
  return { found, warnings: onWarning.mock.calls.map(([error]) => String((error as Error).message)) };
}

describe('a profile is found', () => {
  it('where one is attached, the latest of several', async () => {
    const older = attached(formatProfile({ ...profile, chunks: [] }), '2025-12-31T00:00:00Z');
    const other = { ...attached(Buffer.from('{}'), '2027-01-01T00:00:00Z'), listed: { artifactType: 'x/y' } };
    for (const all of [[good], [older, good], [good, older, other]])
      expect(await ask(sourceWith(all))).toEqual({ found: profile, warnings: [] });
  });

  it('also one that is too large to stand in its manifest', async () => {
    const chunks = Array.from({ length: 20_000 }, (_, i) => ({ blob: 0, first: i * 2, count: 1 }));
    const large = attached(formatProfile({ blobs: ['a'], chunks }), '2026-01-02T00:00:00Z');
    expect(large.manifest.length).toBeLessThan(10_000);
    expect((await ask(sourceWith([large]))).found?.chunks).toHaveLength(chunks.length);
  });

  it('not where none is, or where nothing is known of such', async () => {
    expect(await ask(sourceWith([]))).toEqual({ found: undefined, warnings: [] });
    const { listReferrers: _, ...without } = sourceWith([]);
    expect(await ask(without)).toEqual({ found: undefined, warnings: [] });
  });
});

describe('one that is wrong is a warning', () => {
  const manifest = (change: object) => ({
    manifest: Buffer.from(JSON.stringify({ ...JSON.parse(good.manifest.toString()), ...change })),
  });
  const { layers } = JSON.parse(good.manifest.toString());
  const other = { ...subject, digest: `sha256:${'6'.repeat(64)}` };
  it.each<[string, Attached, string]>([
    ['of another image', attached(formatProfile(profile), '2026-01-02T00:00:00Z', other), 'another image'],
    ['of none', manifest({ subject: undefined }), 'another image'],
    ['with two layers', manifest({ layers: [...layers, ...layers] }), 'not one layer'],
    ['with no layer', manifest({ layers: [] }), 'not one layer'],
    [
      'that is an index',
      {
        manifest: Buffer.from('{"schemaVersion":2,"manifests":[]}'),
        listed: { artifactType: STARTUP_PROFILE },
      },
      'manifest',
    ],
    ['whose manifest is large', { ...good, listed: { size: MIB + 1 } }, `more than ${MIB}`],
    [
      'that is large',
      manifest({ layers: [{ ...layers[0], data: undefined, size: MAX_PROFILE_SIZE + 1 }] }),
      `the limit of ${MAX_PROFILE_SIZE}`,
    ],
    [
      'that is no profile',
      attached(Buffer.from('{"rafterStartupProfile":1}'), '2026-01-02T00:00:00Z'),
      'blobs',
    ],
  ])('%s', async (_, one, message) => {
    const { found, warnings } = await ask(sourceWith([one]));
    expect(found).toBeUndefined();
    expect(warnings).toEqual([expect.stringContaining(message)]);
  });

  it('a source that does not answer is given up when nobody wants to know any more', async () => {
    const onWarning = vi.fn();
    const source: ImageSource = {
      ...sourceWith([]),
      listReferrers: (_, { signal }) =>
        new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(new Error('late')))),
    };
    const hint = askForHint({ source, manifest: subject, onWarning });
    await hint.stop();
    expect(await hint.profile).toBeUndefined();
    expect(onWarning).not.toHaveBeenCalled();
  });
});

describe('the chunks of a profile', () => {
  const layout = (id: string, chunkCount: number) =>
    ({ layout: { id, chunkCount, chunk: () => ({ size: MIB }) } }) as never;
  const blobs = [layout('b', 4), layout('a', 3)];
  const chunks = (ranges: [number, number, number][], options?: { maxBytes: number }) =>
    [
      ...hintedChunks(
        { blobs: ['a', 'b', 'gone'], chunks: ranges.map(([blob, first, count]) => ({ blob, first, count })) },
        blobs,
        options,
      ),
    ].map(({ blobIndex, chunkIndex }) => [blobIndex, chunkIndex]);

  it('are found by the ids of their blobs, in its order', () => {
    expect(
      chunks([
        [0, 2, 1],
        [1, 1, 3],
        [0, 0, 2],
      ]),
    ).toEqual([
      [1, 2],
      [0, 1],
      [0, 2],
      [0, 3],
      [1, 0],
      [1, 1],
    ]);
  });

  it('end at the limit', () => {
    expect(chunks([[1, 0, 4]], { maxBytes: 2 * MIB })).toEqual([
      [0, 0],
      [0, 1],
    ]);
    expect(chunks([[1, 0, 4]], { maxBytes: 2 * MIB - 1 })).toEqual([[0, 0]]);
  });

  it.each<[string, [number, number, number][], string]>([
    ['of a blob that the image has not', [[2, 0, 1]], 'blob gone'],
    ['behind the last one', [[0, 2, 2]], 'chunk 3 of a blob of 3 chunks'],
    ['far behind it', [[0, Number.MAX_SAFE_INTEGER, 1]], 'of a blob of 3 chunks'],
    [
      'named again and again',
      [
        [0, 0, 3],
        [0, 0, 1],
      ],
      'more chunks than the 3',
    ],
  ])('%s: MALFORMED', (_, ranges, message) => {
    expect(() => chunks(ranges)).toThrow(expect.objectContaining({ code: 'MALFORMED' }));
    expect(() => chunks(ranges)).toThrow(message);
  });
});
