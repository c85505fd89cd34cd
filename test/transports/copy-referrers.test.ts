import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { ociDigest } from '../../src/codec/digest.js';
import type { Descriptor } from '../../src/image/descriptor.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { OCI_EMPTY, OCI_MANIFEST, STARTUP_PROFILE } from '../../src/image/media-types.js';
import { parseReference } from '../../src/image/reference.js';
import { EMPTY_CONFIG, profileManifest } from '../../src/image/startup-profile.js';
import { copyImage } from '../../src/transports/copy.js';
import { openSource, openTarget } from '../../src/transports/open.js';
import { writeGoldenLayout } from '../mount/layouts.js';
import { storeBlob } from '../support/layout-image.js';

// Everything is put on disk with fsync, which takes seconds on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

let dir: string;
/** The Nydus image in the layout `source`, which two profiles, a list of packages and a signature of that list refer to. */
let subject: Descriptor;
let latest: Descriptor;
let signature: Descriptor;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-referrers-'));
  await writeGoldenLayout('small', join(dir, 'source'));
  const source = open('oci:source:latest');
  subject = await source.resolve();
  const target = new LayoutTarget({ transport: 'oci', path: join(dir, 'source'), tag: 'latest' });
  await target.putManifest(await source.readManifest(subject), subject.mediaType, { tag: true });
  await storeBlob(target, OCI_EMPTY, EMPTY_CONFIG);
  latest = await putProfile(target, '2026-02-02');
  await putProfile(target, '2026-01-01');
  const list = await putArtifact(target, subject, 'application/spdx+json');
  signature = await putArtifact(target, list, 'application/vnd.example.signature');
  await target.commit();
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** `oci:NAME:TAG` and the like, of files below `dir`. */
const at = (reference: string) => parseReference(reference.replace(':', `:${dir}/`));
const open = (reference: string) => openSource(at(reference));

async function putProfile(target: LayoutTarget, day: string): Promise<Descriptor> {
  const profile = Buffer.from(JSON.stringify({ rafterStartupProfile: 1, blobs: [], chunks: [], day }));
  await storeBlob(target, STARTUP_PROFILE, profile);
  const bytes = profileManifest(profile, { subject, createdAt: new Date(day) });
  return target.putManifest(bytes, OCI_MANIFEST, { tag: false });
}

async function putArtifact(target: LayoutTarget, of: Descriptor, artifactType: string): Promise<Descriptor> {
  const { mediaType, digest, size } = of;
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      artifactType,
      config: { mediaType: OCI_EMPTY, digest: ociDigest(EMPTY_CONFIG), size: EMPTY_CONFIG.length },
      layers: [],
      subject: { mediaType, digest, size },
      annotations: { 'org.opencontainers.image.ref.name': 'latest', about: artifactType },
    }),
  );
  return target.putManifest(bytes, OCI_MANIFEST, { tag: false });
}

async function copy(to: string, referrers?: 'all') {
  const source = open('oci:source:latest');
  const { digest, manifests, referrers: count } = await copyImage(source, openTarget(at(to)), { referrers });
  return { digest, manifests, count };
}

async function referrersIn(reference: string, digest = subject.digest, artifactType?: string) {
  const source = open(reference);
  try {
    return await source.listReferrers!(digest, { artifactType });
  } finally {
    await source.close();
  }
}

it('takes the start-up profile along that counts, which is found at the target', async () => {
  expect(await copy('oci:profile')).toEqual({ digest: subject.digest, manifests: 2, count: 1 });
  const found = await referrersIn('oci:profile');
  expect(found).toMatchObject([{ digest: latest.digest, size: latest.size, artifactType: STARTUP_PROFILE }]);
  expect(found).toEqual(await referrersIn('oci:profile', subject.digest, STARTUP_PROFILE));
  expect(await referrersIn('oci:profile', subject.digest, 'text/plain')).toEqual([]);
  // What refers to an image is no second one.
  expect((await open('oci:profile').resolve()).digest).toBe(subject.digest);
});

it('takes along all that refers to it and to that, if it is told to, also in an archive', async () => {
  expect(await copy('oci-archive:all.tar:x', 'all')).toEqual({
    digest: subject.digest,
    manifests: 5,
    count: 4,
  });
  const found = await referrersIn('oci-archive:all.tar:x');
  expect(found.map(({ artifactType }) => artifactType).sort()).toEqual(
    ['application/spdx+json', STARTUP_PROFILE, STARTUP_PROFILE].sort(),
  );
  const list = found.find(({ artifactType }) => artifactType === 'application/spdx+json')!;
  expect(list.annotations).toEqual({ about: 'application/spdx+json' });
  expect(await referrersIn('oci-archive:all.tar:x', list.digest)).toMatchObject([
    { digest: signature.digest },
  ]);
  for (const reference of ['oci-archive:all.tar:x', 'oci-archive:all.tar']) {
    const source = open(reference);
    expect((await source.resolve()).digest).toBe(subject.digest);
    await source.close();
  }
});

it('copies into a layout once what is there already', async () => {
  await copy('oci:twice:x', 'all');
  await copy('oci:twice:x', 'all');
  expect(await referrersIn('oci:twice:x')).toHaveLength(3);
});
