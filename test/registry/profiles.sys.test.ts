import { randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ociDigest } from '../../src/codec/digest.js';
import type { ImageSource } from '../../src/image/source.js';
import { profileByHost, profileHint, refineProfile } from '../../src/registry/profiles/index.js';
import type { Profile } from '../../src/registry/profiles/profile.js';
import { openSession, type Session } from '../../src/registry/session.js';
import { RegistrySource } from '../../src/registry/source.js';
import { sourceBodies } from '../../src/registry/source-body.js';
import { RegistryTarget } from '../../src/registry/target.js';
import { uploadBlob } from '../../src/registry/upload.js';
import { type FakeRegistry, quickly, startFakeRegistry } from '../support/fake-registry.js';
import type { UploadTraits } from '../support/fake-uploads.js';

let registry: FakeRegistry;
let session: Session;
beforeEach(async () => {
  registry = await startFakeRegistry();
  session = openSession(registry.reference(), { dockerConfig: '/nonexistent', retry: quickly });
});
afterEach(async () => {
  await session.close();
  await registry.stop();
});

/** Sends `bytes` as to a registry of that profile. */
async function upload(profile: Profile, bytes: Buffer, mount?: { from?: string }) {
  const digest = ociDigest(bytes);
  const blob = { mediaType: 'a/b', digest, size: bytes.length };
  const source = {
    name: 'memory',
    openBlob: async () => Readable.from([bytes]),
    readBlobRange: async (_, offset, length) => bytes.subarray(offset, offset + length),
  } as Partial<ImageSource> as ImageSource;
  const how = await uploadBlob(
    session,
    { digest, size: bytes.length, body: sourceBodies(source, blob, {}) },
    { profile, mount },
  );
  expect(registry.blobs.get(digest)?.equals(bytes)).toBe(true);
  return how;
}

const refined = (headers: IncomingHttpHeaders) => refineProfile(profileByHost('example.com'), headers);
const requests = () => registry.requests.map(({ method }) => method).join(' ');

it.each([
  ['docker.io', 'Docker Hub'],
  ['registry-1.docker.io', 'Docker Hub'],
  ['quay.io', 'Quay'],
  ['123456789012.dkr.ecr.eu-central-1.amazonaws.com', 'Amazon ECR'],
  ['public.ecr.aws', 'Amazon ECR'],
  ['europe-west3-docker.pkg.dev', 'Google Artifact Registry'],
  ['eu.gcr.io', 'Google Artifact Registry'],
  ['ghcr.io', 'GitHub Container Registry'],
  ['example.azurecr.io', 'Azure Container Registry'],
  ['example.com:5000', 'OCI registry'],
  ['notdocker.io', 'OCI registry'],
  ['ghcr.io.example.com', 'OCI registry'],
])('%s is %s', (host, name) => {
  expect(profileByHost(host).name).toBe(name);
});

it.each([
  [{ 'x-harbor-csrf-token': 'x', 'docker-distribution-api-version': 'registry/2.0' }, 'Harbor'],
  [{ 'access-control-allow-headers': 'Authorization,content-type,X-ZOT-API-CLIENT' }, 'zot'],
  [{ 'docker-distribution-api-version': 'registry/2.0' }, 'Distribution'],
  [{ server: 'nginx' }, 'OCI registry'],
])('an unknown host that answers with %o is %s', (headers, name) => {
  expect(refineProfile(profileByHost('example.com'), headers).name).toBe(name);
  expect(refineProfile(profileByHost('quay.io'), headers).name).toBe('Quay');
});

it.each<[profile: Profile, error: number | string, hint: string]>([
  [profileByHost('docker.io'), 429, 'rafter login docker.io'],
  [profileByHost('docker.io'), 'UNAUTHORIZED', 'may not exist'],
  [profileByHost('public.ecr.aws'), 'NAME_UNKNOWN', 'create-repository'],
  [profileByHost('public.ecr.aws'), 'TAG_INVALID', 'immutable'],
  [profileByHost('public.ecr.aws'), 401, '12 hours'],
  [profileByHost('public.ecr.aws'), 403, '12 hours'],
  [profileByHost('x-docker.pkg.dev'), 'NAME_UNKNOWN', 'repositories create'],
  [profileByHost('eu.gcr.io'), 401, 'oauth2accesstoken'],
  [profileByHost('ghcr.io'), 401, 'personal access token'],
  [profileByHost('ghcr.io'), 403, 'private'],
  [profileByHost('x.azurecr.io'), 401, '00000000-0000-0000-0000-000000000000'],
  [profileByHost('quay.io'), 'MANIFEST_INVALID', 'media types'],
  [profileByHost('quay.io'), 'UNAUTHORIZED', 'ORGANISATION+NAME'],
  [refined({ 'x-harbor-csrf-token': 'x' }), 'NAME_UNKNOWN', 'project'],
  [refined({ 'x-harbor-csrf-token': 'x' }), 'PROJECTPOLICYVIOLATION', 'policy'],
  [refined({ 'x-harbor-csrf-token': 'x' }), 412, 'quota'],
  [refined({ 'docker-upload-uuid': 'x' }), 405, 'storage.delete.enabled'],
  [refined({ 'access-control-allow-headers': 'X-ZOT-API-CLIENT' }), 'MANIFEST_INVALID', 'docker2s2'],
])('of $name tells users what %s means', (profile, error, hint) => {
  const status = typeof error === 'number' ? error : 400;
  const codes = typeof error === 'string' ? ['OTHER', error] : [];
  expect(profileHint(profile, { status, codes })).toContain(hint);
  expect(profileHint(profile, { status: 404, codes: ['OTHER'] })).toBeUndefined();
});

describe.each<[host: string, traits: UploadTraits, requests: string]>([
  // Both Distributions, and what is built on them: one PUT.
  ['docker.io', { forgetsCut: true }, 'POST PUT'],
  ['example.com', {}, 'POST PUT'],
  // A mount without a repository to take from is an error there, so it is not tried.
  ['quay.io', { mount: 'needs-from' }, 'POST PUT'],
  ['123456789012.dkr.ecr.eu-central-1.amazonaws.com', { patch: 'lose-later', patchStatus: 201 }, 'POST PUT'],
  ['eu.gcr.io', { patch: 'refuse' }, 'POST PUT'],
  ['ghcr.io', { patch: 'keep-last', patchWithLength: false }, 'POST PUT'],
])('%s', (host, traits, expected) => {
  it('takes a small and a large blob', async () => {
    Object.assign(registry.uploads.traits, traits);
    for (const size of [0, 1000, 6 << 20]) {
      registry.requests.length = 0;
      await upload(profileByHost(host), randomBytes(size));
      expect(requests()).toBe(expected);
    }
  });
});

describe('example.azurecr.io', () => {
  it('gets large blobs in pieces, and small ones whole', async () => {
    registry.uploads.traits.largestBody = 20 << 20;
    const profile = profileByHost('example.azurecr.io');
    await upload(profile, randomBytes(1000));
    await upload(profile, randomBytes(33 << 20));
    expect(requests()).toBe('POST PUT POST PATCH PATCH PATCH PUT');
  });
});

describe('a registry with larger and smaller limits than known', () => {
  it('that loses all but the first PATCH, gets the blob by one', async () => {
    Object.assign(registry.uploads.traits, { patch: 'lose-later' });
    const bytes = randomBytes(18 << 20);
    await upload({ name: 'x', upload: { largestPut: 1 << 20 } }, bytes);
    // In pieces, which the digest shows to be wrong; then in one.
    expect(requests()).toBe('POST PATCH PATCH PUT POST PATCH PUT');
  });
});

it('a source with other bytes than it says is named as what is wrong', async () => {
  const bytes = randomBytes(100_000);
  const blob = { mediaType: 'a/b', digest: ociDigest(randomBytes(5)), size: bytes.length };
  const other = await startFakeRegistry();
  const target = new RegistryTarget(registry.reference(), { dockerConfig: '/nonexistent', retry: quickly });
  const source = new RegistrySource(other.reference('lying/source:1'), { dockerConfig: '/nonexistent' });
  try {
    other.blobs.set(blob.digest, bytes);
    await expect(target.putBlob(blob, source, {})).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
      message: expect.stringContaining('lying/source'),
    });
    other.blobs.set(blob.digest, bytes.subarray(1));
    await expect(target.putBlob(blob, source, {})).rejects.toMatchObject({
      code: 'TRUNCATED',
      message: expect.stringContaining('lying/source'),
    });
    expect(registry.blobs.size).toBe(0);
  } finally {
    await Promise.all([source.close(), target.abort(), other.stop()]);
  }
});

it('one blob is sent once, however many want it stored at the same time', async () => {
  const bytes = randomBytes(6_000_000);
  const other = await startFakeRegistry();
  const blob = other.addBlob(bytes);
  const target = new RegistryTarget(registry.reference(), { dockerConfig: '/nonexistent', retry: quickly });
  const source = new RegistrySource(other.reference(), { dockerConfig: '/nonexistent' });
  try {
    const sent = await Promise.all([1, 2, 3].map(() => target.putBlob(blob, source, {})));
    expect(sent.filter(Boolean)).toHaveLength(1);
    expect(requests()).toBe('POST PUT');
    expect(registry.blobs.get(blob.digest)?.equals(bytes)).toBe(true);
  } finally {
    await Promise.all([source.close(), target.abort(), other.stop()]);
  }
});

describe('mounting', () => {
  const bytes = randomBytes(2_000_000);
  const elsewhere = () => registry.uploads.elsewhere.set('team/base', new Map([[ociDigest(bytes), bytes]]));

  it.each<[behaviour: UploadTraits['mount'], from: string | undefined, how: string, requests: string]>([
    ['from', 'team/base', 'mounted', 'POST'],
    ['from', 'team/other', 'uploaded', 'POST PUT'],
    ['from', undefined, 'uploaded', 'POST PUT'],
    ['anonymous', undefined, 'mounted', 'POST'],
    ['never', 'team/base', 'uploaded', 'POST PUT'],
    ['error', 'team/base', 'uploaded', 'POST POST PUT'],
    ['needs-from', undefined, 'uploaded', 'POST POST PUT'],
  ])('where it is "%s", from %s: %s', async (behaviour, from, how, expected) => {
    elsewhere();
    registry.uploads.traits.mount = behaviour;
    expect(await upload({ name: 'x' }, bytes, from === undefined ? {} : { from })).toBe(how);
    expect(requests()).toBe(expected);
    const query = from === undefined ? '' : `&from=${encodeURIComponent(from)}`;
    expect(registry.requests[0]!.url).toMatch(new RegExp(`\\?mount=sha256%3A[0-9a-f]{64}${query}$`));
  });
});
