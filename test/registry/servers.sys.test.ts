import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { ociDigest } from '../../src/codec/digest.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { DOCKER_MANIFEST, OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST } from '../../src/image/media-types.js';
import { parseReference, type RegistryReference } from '../../src/image/reference.js';
import { headBlob, openBlob } from '../../src/registry/blobs.js';
import { deleteImage } from '../../src/registry/delete-image.js';
import { diagnose } from '../../src/registry/doctor.js';
import { headManifest } from '../../src/registry/manifests.js';
import { profileByHost } from '../../src/registry/profiles/index.js';
import { listReferrers, referrersTag } from '../../src/registry/referrers.js';
import { openSession } from '../../src/registry/session.js';
import { RegistrySource } from '../../src/registry/source.js';
import { RegistryTarget } from '../../src/registry/target.js';
import { copyImage } from '../../src/transports/copy.js';
import { openSource } from '../../src/transports/open.js';
import { storeImage } from '../support/layout-image.js';
import { missingPrograms, peer } from '../support/programs.js';
import { startRegistry, type TestRegistry } from '../support/registry-server.js';

const options = { dockerConfig: '/nonexistent' };
const content = randomBytes(7_000_000);

/** The one with an API for referrers is also the one that names manifests by SHA-512. */
const servers: [name: string, program: string | undefined, referrers: 'works' | 'other', kind: string][] = [
  [
    'docker-registry',
    missingPrograms('docker-registry') ? undefined : 'docker-registry',
    'other',
    'Distribution',
  ],
  ['Distribution 3', peer('registry3'), 'other', 'Distribution'],
  ['zot', peer('zot'), 'works', 'zot'],
];

describe.each(servers)('%s', (_, program, referrers, kind) => {
  describe.skipIf(program === undefined)('as it is', () => {
    let registry: TestRegistry;
    beforeAll(async () => {
      registry = await startRegistry({ program: program! });
    });
    afterAll(async () => {
      await registry?.stop();
    });

    const reference = (rest: string) => parseReference(`${registry.host}/${rest}`) as RegistryReference;

    /** An image of one layer with `content`. */
    async function pushImage(name: string, onHalf?: () => Promise<void>) {
      const target = new RegistryTarget(reference(name), options);
      const config = await target.createBlob();
      await config.write(Buffer.from('{}'));
      const configBlob = await config.commit();
      const layer = await target.createBlob();
      await layer.write(content.subarray(0, 5_000_000));
      await onHalf?.();
      await layer.write(content.subarray(5_000_000));
      const layerBlob = await layer.commit(ociDigest(content));
      const manifest = {
        schemaVersion: 2,
        mediaType: OCI_MANIFEST,
        config: { mediaType: OCI_CONFIG, ...configBlob },
        layers: [{ mediaType: OCI_LAYER_GZIP, ...layerBlob }],
      };
      const bytes = Buffer.from(JSON.stringify(manifest));
      const descriptor = await target.putManifest(bytes, OCI_MANIFEST, { tag: true });
      await target.commit();
      return { descriptor, layer: manifest.layers[0]!, manifest };
    }

    it('passes every check of the doctor, and keeps nothing', async () => {
      const report = await diagnose(reference('doc/tor'), options);
      expect(report.diagnoses.filter(({ result }) => result === 'fails' || result === 'skipped')).toEqual([]);
      const listed = report.diagnoses.find(({ operation }) => operation === 'referrers');
      expect(listed?.result).toBe(referrers);
      expect(report.kind).toBe(kind);
      expect(report.left).toEqual([]);
    });

    it('takes manifests of Docker, or says what lets it', async () => {
      const { manifest } = await pushImage('team/docker:1');
      const config = { ...manifest.config, mediaType: 'application/vnd.docker.container.image.v1+json' };
      const bytes = Buffer.from(JSON.stringify({ ...manifest, mediaType: DOCKER_MANIFEST, config }));
      const target = new RegistryTarget(reference('team/docker:2'), options);
      const stored = target.putManifest(bytes, DOCKER_MANIFEST, { tag: true });
      if (kind === 'zot')
        await expect(stored).rejects.toMatchObject({ hint: expect.stringContaining('docker2s2') });
      else expect(await stored).toMatchObject({ mediaType: DOCKER_MANIFEST });
      await target.abort();
    });

    it('takes a blob while it is made, and gives it back whole and in ranges', async () => {
      const { descriptor, layer } = await pushImage('team/streamed:1');
      expect(registry.requests.some(({ method, received }) => method === 'PATCH' && received > 5e6)).toBe(
        true,
      );
      const source = new RegistrySource(reference('team/streamed:1'), options);
      expect(await source.resolve()).toEqual(descriptor);
      expect((await buffer(await source.openBlob(layer))).equals(content)).toBe(true);
      const range = await source.readBlobRange(layer, 6_543_210, 1000);
      expect(range.equals(content.subarray(6_543_210, 6_544_210))).toBe(true);
      await source.close();
    });

    it('gets the whole blob although the connection was cut in the middle', async () => {
      const { layer } = await pushImage('team/cut:1', async () => {
        // The beginning has to be on its way.
        await vi.waitFor(() => expect(registry.arriving()).toBeGreaterThan(1_000_000), 20_000);
        registry.cut();
      });
      const source = new RegistrySource(reference('team/cut:1'), options);
      expect((await buffer(await source.openBlob(layer))).equals(content)).toBe(true);
      await source.close();
    });

    it('is not sent what it has in another repository', async () => {
      await pushImage('team/base:1');
      registry.requests.length = 0;
      const source = new RegistrySource(reference('team/base:1'), options);
      await copyImage(source, new RegistryTarget(reference('team/mounted:1'), options));
      await source.close();
      // By a mount; zot has it everywhere at once.
      expect(registry.requests.reduce((sum, { received }) => sum + received, 0)).toBeLessThan(10_000);
    });

    it('takes blobs that SHA-512 names; manifests too, or says that it does not', async () => {
      const directory = mkdtempSync(join(tmpdir(), 'rafter-sha512-'));
      try {
        const layout = new LayoutTarget({ transport: 'oci', path: directory, tag: 'x' });
        const files = { small: Buffer.from('x'), large: content };
        const { digest } = await storeImage(layout, files, { algorithm: 'sha512', tag: true });
        await layout.commit();
        const source = openSource(parseReference(`oci:${directory}:x`));
        const pushed = copyImage(source, new RegistryTarget(reference('sha/image:1'), options));
        if (referrers !== 'works') {
          await expect(pushed).rejects.toMatchObject({ code: 'UNSUPPORTED', hint: expect.any(String) });
          const session = openSession(reference('sha/image'), options);
          const { layers } = JSON.parse(String(await source.readManifest(await source.resolve())));
          for (const layer of layers) {
            const found = await headBlob(session, layer.digest, { access: 'pull' });
            expect(found).toEqual({ size: layer.size });
            expect(await buffer(await openBlob(session, layer))).toHaveLength(layer.size);
          }
          return await session.close();
        }
        expect(await pushed).toMatchObject({ digest, copiedBlobs: 3 });
        const back = new RegistrySource(reference(`sha/image@${digest}`), options);
        const again = new LayoutTarget({ transport: 'oci', path: join(directory, 'again'), tag: 'x' });
        expect(await copyImage(back, again)).toMatchObject({ digest, copiedBlobs: 3 });
        await back.close();
      } finally {
        rmSync(directory, { recursive: true });
      }
    });

    it('finds what refers to an image, until that is deleted', async () => {
      const { descriptor, manifest } = await pushImage('team/subject:1');
      const target = new RegistryTarget(reference('team/subject'), options);
      const bytes = Buffer.from(JSON.stringify({ ...manifest, subject: descriptor, artifactType: 'x/y' }));
      const referrer = await target.putManifest(bytes, OCI_MANIFEST, { tag: false });
      await target.commit();
      const session = openSession(reference('team/subject'), options);
      const profile = profileByHost(registry.host);
      const found = await listReferrers(session, descriptor.digest, { profile });
      await deleteImage(reference(`team/subject@${referrer.digest}`), options);
      expect((await listReferrers(session, descriptor.digest, { profile })).descriptors).toEqual([]);
      const tag = referrersTag(descriptor.digest);
      expect(await headManifest(session, tag, { access: 'pull' })).toBeUndefined();
      await session.close();
      expect(found.by).toBe(referrers === 'works' ? 'api' : 'tag');
      expect(found.descriptors).toMatchObject([{ ...referrer, artifactType: 'x/y' }]);
    });
  });
});

describe.skipIf(missingPrograms('docker-registry'))('docker-registry as a pull-through cache', () => {
  it('is read from, and says in one error that it cannot be pushed to', async () => {
    const origin = await startRegistry();
    const cache = await startRegistry({ cacheOf: origin.host });
    const at = (host: string, rest: string) => parseReference(`${host}/${rest}`) as RegistryReference;
    try {
      const target = new RegistryTarget(at(origin.host, 'a/b:1'), options);
      const writer = await target.createBlob();
      await writer.write(content);
      const blob = { mediaType: 'a/b', ...(await writer.commit()) };
      await target.commit();
      const source = new RegistrySource(at(cache.host, 'a/b:1'), options);
      // The second time from the cache.
      for (let i = 0; i < 2; i++) {
        expect((await buffer(await source.openBlob(blob))).equals(content)).toBe(true);
      }
      await source.close();

      const refused = new RegistryTarget(at(cache.host, 'a/b:2'), options);
      const other = await refused.createBlob();
      await other.write(randomBytes(100));
      await expect(other.commit()).rejects.toMatchObject({ code: 'UNSUPPORTED', status: 405 });
      await refused.abort();
    } finally {
      await Promise.all([origin.stop(), cache.stop()]);
    }
  });
});
