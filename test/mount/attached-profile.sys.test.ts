import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { convertImage } from '../../src/convert/convert.js';
import { OCI_MANIFEST } from '../../src/image/media-types.js';
import { parseReference } from '../../src/image/reference.js';
import { profileManifest } from '../../src/image/startup-profile.js';
import { openImage } from '../../src/inspect/open-image.js';
import type { MountRequest } from '../../src/mount/api/api.js';
import { daemonStatus, listMounts, mountImage, unmountImage } from '../../src/mount/client/client.js';
import { attachProfile } from '../../src/optimize/attach.js';
import { RegistryTarget } from '../../src/registry/target.js';
import { formatTrace, type Trace } from '../../src/trace/trace.js';
import { copyImage } from '../../src/transports/copy.js';
import { openSource, openTarget } from '../../src/transports/open.js';
import { makeLayout } from '../convert/layouts.js';
import { makeTar } from '../convert/tar-writer.js';
import { createCommandLine } from '../support/command-line.js';
import { type FakeRegistry, failWith, startFakeRegistry } from '../support/fake-registry.js';
import { missingPrograms, peerOrSkip } from '../support/programs.js';
import { startRegistry } from '../support/registry-server.js';
import { createPlace, readEverything, type TestPlace } from './daemon-process.js';

const MIB = 1 << 20;
const WAIT = { timeout: 30_000, interval: 20 };
const always = Number.POSITIVE_INFINITY;
const PAGE = 4096;
const CHUNKS = 12;
const platform = 'linux/amd64';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rafter-attached-'));
});
afterAll(() => rm(dir, { recursive: true }));

/**
 * Stores an image with one file of CHUNKS chunks that no other image has, and returns what is in it. Chunks do not shrink, so that one has
 * as many bytes in the blob.
 */
async function convert(reference: string, chunkSize = PAGE): Promise<Buffer> {
  const content = randomBytes(CHUNKS * chunkSize);
  const layout = makeLayout([{ tar: makeTar([{ name: 'data', data: content }]), compression: 'none' }]);
  await convertImage({
    source: openSource(parseReference(`oci:${layout}:t`)),
    target: openTarget(parseReference(reference)),
    sourceReference: 'oci:some',
    platforms: [platform],
    options: { prefetch: [], chunkSize, batchSize: 0 },
  });
  return content;
}

/** A run of the image that read `chunks`, one after the other. */
async function traceOf(reference: string, chunks: number[]): Promise<Trace> {
  const source = openSource(parseReference(reference));
  const { bootstrap, descriptor } = await openImage(source, { platform });
  await source.close();
  return {
    reference,
    manifest: descriptor.digest,
    blobs: bootstrap.blobs.map(({ id }) => id),
    driver: 'erofs',
    startedAt: '2026-01-02T03:04:05.678Z',
    touches: chunks.map((chunk) => ({
      ...{ blob: 0, offset: chunk * bootstrap.chunkSize, length: PAGE, atMs: 0, waitedMs: 0 },
      from: 'fetch' as const,
    })),
  };
}

async function attach(reference: string, chunks: number[], now?: Date) {
  const source = openSource(parseReference(reference));
  try {
    return await attachProfile({
      source,
      openTarget: () => openTarget(parseReference(reference)),
      traces: [await traceOf(reference, chunks)],
      platform,
      tempDir: join(dir, 'tmp'),
      now,
    });
  } finally {
    await source.close();
  }
}

/** Copies the image to another repository of its registry, whose name this resolves to. */
async function copied(reference: string): Promise<string> {
  const copy = reference.replace('/team/', '/copies/');
  const source = openSource(parseReference(reference));
  await copyImage(source, openTarget(parseReference(copy)));
  await source.close();
  return copy;
}

describe('a mount of an image with a profile attached to it', () => {
  let registry: FakeRegistry;
  /** One daemon for all: each image is one that it has not seen. */
  let place: TestPlace;
  let images = 0;
  let reference: string;
  let content: Buffer;

  beforeAll(() => {
    place = createPlace();
  });
  afterAll(() => place.remove());
  beforeEach(async () => {
    registry = await startFakeRegistry();
    reference = `${registry.host}/team/app:${++images}`;
    content = await convert(reference);
  });
  afterEach(async () => {
    for (const { id } of await listMounts(place)) await unmountImage(place, { id });
    await registry.stop();
  });

  const mount = async (more: Partial<MountRequest> = {}) =>
    mountImage(place, { reference, mountpoint: await place.mountpoint('m'), platform, access: {}, ...more });
  const localBytes = async () => (await listMounts(place))[0]!.data!.localBytes;
  const log = () => readFile(join(place.runDir, 'daemon.log'), 'utf8');
  const referrerRequests = () =>
    registry.requests.map(({ url }) => url).filter((url) => /referrers|manifests\/sha256-/.test(url));
  /** Positions of the chunks that were asked for, sorted. */
  const askedChunks = (chunkSize = PAGE) => {
    const found = new Set<number>();
    for (const { headers } of registry.requests) {
      const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '') ?? [];
      if (from !== undefined)
        for (let at = Number(from); at < Number(to); at += chunkSize) found.add(Math.floor(at / chunkSize));
    }
    return [...found].sort((a, b) => a - b);
  };

  it.each([true, false])('fetches what that names (listed by the registry: %s), once', async (referrers) => {
    registry.traits.referrers = referrers;
    const { digest, subject, profile, chunkBytes } = await attach(reference, [9, 2, 3]);
    // It goes where the image goes.
    reference = await copied(reference);
    expect(registry.manifests.get(digest)?.mediaType).toBe(OCI_MANIFEST);
    expect(registry.manifests.has(subject)).toBe(true);
    expect([profile.chunks, profile.ranges, chunkBytes]).toEqual([3, 2, 3 * PAGE]);
    const misses = (await daemonStatus(place))?.cache.stats.misses ?? 0;
    const { id, warnings } = await mount();
    expect(warnings).toEqual([]);
    await vi.waitFor(async () => expect(await localBytes()).toBe(3 * PAGE), WAIT);
    expect(askedChunks()).toEqual([2, 3, 9]);
    expect((await daemonStatus(place))!.cache.stats.misses).toBe(misses);

    await unmountImage(place, { id });
    // An image that was here before is not asked about.
    registry.requests.length = 0;
    const { mountpoint } = await mount();
    expect((await readFile(join(mountpoint, 'data'))).equals(content)).toBe(true);
    expect(referrerRequests()).toEqual([]);
  });

  it.for(['docker-registry', 'zot'])('follows it in %s', async (name, ctx) => {
    const isOurs = name === 'docker-registry';
    const missing = isOurs && missingPrograms(name);
    if (missing) ctx.skip(missing);
    const real = await startRegistry(isOurs ? {} : { program: peerOrSkip(ctx, name) });
    try {
      reference = `${real.host}/team/app:1`;
      await convert(reference);
      await attach(reference, [4, 1]);
      const { id } = await mount();
      await vi.waitFor(async () => expect(await localBytes()).toBe(2 * PAGE), WAIT);
      await unmountImage(place, { id });
    } finally {
      await real.stop();
    }
  });

  it('asks for it in the order of the profile', async () => {
    registry.traits.referrers = true;
    await convert(reference, MIB);
    await attach(reference, [11, 10, 9, 8, 7, 6, 5, 4, 0, 1]);
    registry.intercept(
      /GET .*\/blobs\//,
      ({ headers }, response, next) => (headers.range === undefined ? next() : response.flushHeaders()),
      always,
    );
    registry.requests.length = 0;
    await mount();
    // The requests that may go at the same time; none of them is answered.
    await vi.waitFor(() => expect(askedChunks(MIB)).toEqual([4, 5, 6, 7, 8, 9, 10, 11]), WAIT);
  });

  it('asks for none if nothing is to be fetched ahead', async () => {
    registry.traits.referrers = true;
    await attach(reference, [1]);
    registry.requests.length = 0;
    const { mountpoint } = await mount({ prefetch: false });
    await readEverything(mountpoint);
    expect(referrerRequests()).toEqual([]);
  });

  it('the latest of several counts', async () => {
    registry.traits.referrers = true;
    await attach(reference, [1, 2, 3], new Date('2026-01-02'));
    await attach(reference, [7], new Date('2026-01-03'));
    await attach(reference, [4, 5], new Date('2026-01-01'));
    await mount();
    await vi.waitFor(async () => expect(await localBytes()).toBe(PAGE), WAIT);
    expect(askedChunks()).toEqual([7]);
  });

  it('does not wait for a registry that does not say what is attached', async () => {
    registry.intercept(/referrers/, (_, response) => response.flushHeaders(), always);
    const { id, mountpoint } = await mount();
    await readEverything(mountpoint);
    expect(referrerRequests()).toHaveLength(1);
    await unmountImage(place, { id });
    expect(await listMounts(place)).toEqual([]);
  });

  describe('that is wrong works as without one', () => {
    const put = async (profile: Buffer, change: (manifest: Record<string, unknown>) => object = (m) => m) => {
      const source = openSource(parseReference(reference));
      const { descriptor } = await openImage(source, { platform });
      await source.close();
      registry.addBlob(profile);
      const made = profileManifest(profile, { subject: descriptor, createdAt: new Date() });
      const bytes = Buffer.from(JSON.stringify(change(JSON.parse(made.toString()))));
      const target = new RegistryTarget(registry.reference(), { dockerConfig: '/nonexistent' });
      await target.putManifest(bytes, OCI_MANIFEST, { tag: false });
      await target.abort();
    };
    const json = (value: object) => Buffer.from(JSON.stringify({ rafterStartupProfile: 1, ...value }));
    const blobId = async () => (await traceOf(reference, [])).blobs[0]!;

    it.each<[string, () => Promise<void>, string]>([
      ['no profile', () => put(Buffer.from('not JSON')), 'not JSON'],
      [
        'chunks that the image has not',
        async () => put(json({ blobs: [await blobId()], chunks: [[0, 5, 99]] })),
        'chunk 103',
      ],
      [
        'another image’s blobs',
        () => put(json({ blobs: ['ab'], chunks: [[0, 0, 1]] })),
        'which the image has not',
      ],
      [
        'several layers',
        () => put(json({ blobs: [], chunks: [] }), (m) => ({ ...m, layers: [m.layers, m.layers].flat() })),
        'not one layer',
      ],
      [
        'a list that is refused',
        async () => registry.intercept(/manifests\/sha256-|referrers/, failWith(403, 'DENIED'), always),
        'start-up profile',
      ],
    ])('%s', async (_, prepare, message) => {
      registry.traits.referrers = true;
      await prepare();
      const { mountpoint, warnings } = await mount();
      expect(warnings).toEqual([]);
      await vi.waitFor(async () => expect(await log()).toContain(message), WAIT);
      expect((await readFile(join(mountpoint, 'data'))).equals(content)).toBe(true);
    });
  });
});

it('the command line attaches a profile', async (ctx) => {
  const missing = missingPrograms('docker-registry');
  if (missing) ctx.skip(missing);
  const registry = await startRegistry();
  const { dir: own, ok, run, remove } = createCommandLine();
  try {
    const image = `${registry.host}/team/app:lazy`;
    await convert(image);
    const trace = join(own, 'start.trace');
    await writeFile(trace, formatTrace(await traceOf(image, [4, 1])));
    const options = ['--trace', trace, '--platform', platform];
    const { stdout } = await ok('optimize', '--attach', image, ...options, '--json');
    expect(JSON.parse(stdout)).toMatchObject({ profile: { chunks: 2 }, warnings: [] });
    expect(await run('optimize', image, ...options)).toMatchObject({ code: 2 });
    expect(await run('optimize', '--attach', image, `${image}-2`, ...options)).toMatchObject({ code: 2 });
    expect(await run('optimize', '--attach', `oci:${dir}/none`, ...options)).toMatchObject({ code: 6 });
  } finally {
    expect(await remove()).toEqual([]);
    await registry.stop();
  }
});
