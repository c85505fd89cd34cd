import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ociDigest } from '../../src/codec/digest.js';
import { OCI_INDEX, OCI_MANIFEST } from '../../src/image/media-types.js';
import { deleteImage } from '../../src/registry/delete-image.js';
import { profileByHost } from '../../src/registry/profiles/index.js';
import { listReferrers, referrersTag } from '../../src/registry/referrers.js';
import { removeFromReferrersTag } from '../../src/registry/referrers-tag.js';
import { openSession, type Session } from '../../src/registry/session.js';
import { RegistryTarget } from '../../src/registry/target.js';
import {
  type FakeRegistry,
  failWith,
  type Handler,
  quickly,
  startFakeRegistry,
} from '../support/fake-registry.js';

const always = Number.POSITIVE_INFINITY;
const subject = { mediaType: OCI_MANIFEST, digest: `sha256:${'5'.repeat(64)}`, size: 500 };
const config = { mediaType: 'application/vnd.example+json', digest: `sha256:${'1'.repeat(64)}`, size: 5 };

let registry: FakeRegistry;
let session: Session;
let targets: RegistryTarget[];
beforeEach(async () => {
  registry = await startFakeRegistry();
  session = openSession(registry.reference(), { dockerConfig: '/nonexistent', retry: quickly });
  targets = [];
});
afterEach(async () => {
  for (const target of targets) await target.abort();
  await session.close();
  await registry.stop();
});

function manifestOf(name: string, more: object = {}): Buffer {
  const annotations = { name };
  return Buffer.from(JSON.stringify({ schemaVersion: 2, config, layers: [], subject, annotations, ...more }));
}

async function push(bytes: Buffer): Promise<void> {
  const target = new RegistryTarget(registry.reference(), { dockerConfig: '/nonexistent', retry: quickly });
  targets.push(target);
  await target.putManifest(bytes, OCI_MANIFEST, { tag: false });
}

const list = (artifactType?: string, profile = profileByHost(registry.host)) =>
  listReferrers(session, subject.digest, { profile, artifactType });
const names = async (artifactType?: string) =>
  (await list(artifactType)).descriptors.map(({ annotations }) => annotations?.name).sort();
const tagged = () => registry.manifests.get(referrersTag(subject.digest));

describe('a registry that lists referrers', () => {
  beforeEach(() => {
    registry.traits.referrers = true;
  });

  it('is asked, and its tags are left alone', async () => {
    await push(manifestOf('a'));
    await push(manifestOf('b', { artifactType: 'x/y' }));
    expect(await names()).toEqual(['a', 'b']);
    expect(await names('x/y')).toEqual(['b']);
    expect((await list()).by).toBe('api');
    expect(tagged()).toBeUndefined();
  });

  it('is asked for page after page', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) await push(manifestOf(name));
    registry.traits.referrersPerPage = 2;
    expect(await names()).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  it.each<[string, (path: string, query: string) => string]>([
    ['with a slash in its query', (path, query) => `<${path}${query}&type=x/y>; rel="next"`],
    ['that is a query alone', (_, query) => `<${query}>; rel=next`],
    ['after another link', (path, query) => `</v2/>; rel="up", <${path}${query}>; rel="next"`],
  ])('finds the next page by a link %s', async (_, linkTo) => {
    for (const name of ['a', 'b', 'c']) await push(manifestOf(name));
    Object.assign(registry.traits, { referrersPerPage: 2, linkTo });
    expect(await names()).toEqual(['a', 'b', 'c']);
  });

  it.each([
    ['is not there', failWith(404), 'NOT_FOUND'],
    [
      'is for people',
      (_, r) => void r.writeHead(200, { 'content-type': 'text/html' }).end('<p>'),
      'MALFORMED',
    ],
  ] as [string, Handler, string][])(
    'that has only some pages is an error: the next one %s',
    async (_, handler, code) => {
      for (const name of ['a', 'b', 'c']) await push(manifestOf(name));
      registry.traits.referrersPerPage = 2;
      registry.intercept(/referrers.*from=/, handler, always);
      await expect(list()).rejects.toMatchObject({ code });
      registry.traits.linkTo = (_path, query) => `</v2/other${query}>; rel="next"`;
      await expect(list()).rejects.toMatchObject({ code: 'MALFORMED' });
    },
  );

  it('that has no last page is an error', async () => {
    registry.intercept(
      /referrers/,
      (request, response) => {
        response.writeHead(200, { 'content-type': OCI_INDEX, link: `<${request.url}>; rel="next"` });
        response.end(JSON.stringify({ schemaVersion: 2, manifests: [] }));
      },
      always,
    );
    await expect(list()).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });
});

describe('a registry that does not list them', () => {
  it('gets an index under the tag of the specification', async () => {
    expect(referrersTag(subject.digest)).toBe(`sha256-${'5'.repeat(64)}`);
    const bytes = manifestOf('a', { artifactType: 'x/y' });
    await push(bytes);
    expect(tagged()!.mediaType).toBe(OCI_INDEX);
    expect(JSON.parse(tagged()!.bytes.toString())).toEqual({
      schemaVersion: 2,
      mediaType: OCI_INDEX,
      manifests: [
        {
          mediaType: OCI_MANIFEST,
          digest: ociDigest(bytes),
          size: bytes.length,
          annotations: { name: 'a' },
          artifactType: 'x/y',
        },
      ],
    });
    await push(manifestOf('b'));
    await push(manifestOf('b'));
    expect(await names()).toEqual(['a', 'b']);
    expect((await list('application/vnd.example+json')).descriptors).toHaveLength(1);
    expect((await list()).by).toBe('tag');
  });

  it('loses none of many that are pushed at once', async () => {
    const all = ['a', 'b', 'c', 'd', 'e'];
    await Promise.all(all.map((name) => push(manifestOf(name))));
    expect(await names()).toEqual(all);
  });

  it('writes again what another writer, who read before, undid', async () => {
    await push(manifestOf('a'));
    const before = tagged()!;
    registry.intercept(
      /PUT .*manifests\/sha256-/,
      (_, response, next) => {
        // It lands a moment later, on top of ours.
        response.once('finish', () => registry.manifests.set(referrersTag(subject.digest), before));
        next();
      },
      2,
    );
    await push(manifestOf('b'));
    expect(await names()).toEqual(['a', 'b']);
  });

  it('keeps what others wrote into the index', async () => {
    const other = { mediaType: 'x/y', digest: `sha256:${'7'.repeat(64)}`, size: 7, more: 1 };
    const bytes = Buffer.from(
      JSON.stringify({ schemaVersion: 2, manifests: [other], annotations: { k: 'v' } }),
    );
    registry.manifests.set(referrersTag(subject.digest), { mediaType: OCI_INDEX, bytes });
    await push(manifestOf('a'));
    const index = JSON.parse(tagged()!.bytes.toString());
    expect(index.manifests[0]).toEqual(other);
    expect(index.manifests).toHaveLength(2);
    expect(index.annotations).toEqual({ k: 'v' });
  });

  it('lets go of one that is removed', async () => {
    await push(manifestOf('a'));
    await push(manifestOf('b'));
    await removeFromReferrersTag(session, subject.digest, ociDigest(manifestOf('a')));
    expect(await names()).toEqual(['b']);
  });

  it('forgets one that is deleted, and the tag with the last one', async () => {
    registry.traits.deletes = true;
    for (const name of ['a', 'b']) await push(manifestOf(name));
    const remove = (name: string) =>
      deleteImage(registry.reference(`team/app@${ociDigest(manifestOf(name))}`), {
        dockerConfig: '/nonexistent',
        retry: quickly,
      });
    await remove('a');
    expect(await names()).toEqual(['b']);
    // Another program adds one just before the index with the last one goes.
    const { manifests, ...rest } = JSON.parse(tagged()!.bytes.toString());
    const c = { ...config, digest: `sha256:${'7'.repeat(64)}`, annotations: { name: 'c' } };
    const bytes = Buffer.from(JSON.stringify({ ...rest, manifests: [...manifests, c] }));
    registry.intercept(new RegExp(`DELETE .*${ociDigest(tagged()!.bytes)}`), (_request, _response, next) => {
      registry.manifests.set(referrersTag(subject.digest), { mediaType: OCI_INDEX, bytes });
      next();
    });
    await remove('b');
    expect(await names()).toEqual(['c']);
    await removeFromReferrersTag(session, subject.digest, c.digest);
    expect(tagged()).toBeUndefined();
  });

  it('keeps an empty index where it deletes images but not that', async () => {
    registry.traits.deletes = true;
    await push(manifestOf('a'));
    const index = ociDigest(tagged()!.bytes);
    registry.intercept(new RegExp(`DELETE .*${index}`), failWith(405, 'UNSUPPORTED'), always);
    await deleteImage(registry.reference(`team/app@${ociDigest(manifestOf('a'))}`), {
      dockerConfig: '/nonexistent',
      retry: quickly,
    });
    expect(JSON.parse(tagged()!.bytes.toString()).manifests).toEqual([]);
  });

  it('is BUSY when somebody undoes every change', async () => {
    registry.intercept(
      /PUT .*manifests\/sha256-/,
      (_, response) => void response.writeHead(201).end(),
      always,
    );
    await expect(push(manifestOf('a'))).rejects.toMatchObject({ code: 'BUSY' });
  });

  it('is MALFORMED when the tag is no index', async () => {
    registry.manifests.set(referrersTag(subject.digest), { mediaType: OCI_MANIFEST, bytes: manifestOf('x') });
    await expect(push(manifestOf('a'))).rejects.toMatchObject({ code: 'MALFORMED' });
  });

  it.each([
    ['400', failWith(400)],
    ['403', failWith(403)],
    ['405', failWith(405)],
    ['406', failWith(406)],
    [
      'an HTML page',
      (_: unknown, r: import('node:http').ServerResponse) =>
        void r.setHeader('content-type', 'text/html').end('<html>'),
    ],
  ])('may say so by %s', async (_, handler) => {
    await push(manifestOf('a'));
    registry.intercept(/referrers/, handler, always);
    expect(await names()).toEqual(['a']);
  });

  it('is not even asked where that is known to lead nowhere', async () => {
    await push(manifestOf('a'));
    registry.requests.length = 0;
    expect((await list(undefined, profileByHost('ghcr.io'))).descriptors).toHaveLength(1);
    expect(registry.requests.some(({ url }) => url.includes('/referrers/'))).toBe(false);
  });
});
