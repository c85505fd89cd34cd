import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { runCommandLine } from '../../src/cli/program.js';
import { ociDigest } from '../../src/codec/digest.js';
import { OCI_INDEX } from '../../src/image/media-types.js';
import { deleteImage } from '../../src/registry/delete-image.js';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.js';

const options = { dockerConfig: '/nonexistent' };
const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] }));
const digest = ociDigest(bytes);

let registry: FakeRegistry;
beforeEach(async () => {
  registry = await startFakeRegistry();
  registry.traits.deletes = true;
  const manifest = { mediaType: OCI_INDEX, bytes };
  registry.manifests.set('1', manifest).set(digest, manifest);
});
afterEach(() => registry.stop());

const deletions = () => registry.requests.filter(({ method }) => method === 'DELETE').map(({ url }) => url);

describe('deleting from a registry', () => {
  it('takes a manifest by its digest', async () => {
    const reference = registry.reference(`team/app@${digest}`);
    expect(await deleteImage(reference, options)).toEqual({ name: reference.name, digest });
    expect(deletions()).toEqual([`/v2/team/app/manifests/${digest}`]);
    expect(registry.manifests.size).toBe(0);
  });

  it('takes a tag by its name, never by its digest, which would take other tags along', async () => {
    expect((await deleteImage(registry.reference('team/app:1'), options)).digest).toBe(digest);
    expect(deletions()).toEqual(['/v2/team/app/manifests/1']);
  });

  it.each(['team/app:2', `team/app@${ociDigest(Buffer.from('other'))}`])(
    'says that %s is not there',
    async (name) => {
      await expect(deleteImage(registry.reference(name), options)).rejects.toMatchObject({
        code: 'NOT_FOUND',
        message: expect.stringContaining('nothing to delete'),
      });
    },
  );

  it.each([400, 405])('says how to delete where status %i refuses tags', async (status) => {
    registry.intercept(/^DELETE .*\/manifests\/1$/, (_, response) => void response.writeHead(status).end());
    await expect(deleteImage(registry.reference('team/app:1'), options)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      hint: expect.stringContaining(`rafter delete ${registry.host}/team/app@${digest}`),
    });
    expect(registry.manifests.size).toBe(2);
  });

  it('says that a registry does not delete at all', async () => {
    registry.traits.deletes = false;
    await expect(deleteImage(registry.reference(`team/app@${digest}`), options)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      hint: expect.stringContaining('switched off'),
    });
  });
});

describe('rafter delete', () => {
  let written: string;
  beforeEach(() => {
    written = '';
    for (const stream of [process.stdout, process.stderr]) {
      vi.spyOn(stream, 'write').mockImplementation((text) => {
        written += text;
        return true;
      });
    }
    vi.stubEnv('DOCKER_CONFIG', '/nonexistent');
  });
  afterEach(() => {
    vi.restoreAllMocks();
    vi.unstubAllEnvs();
  });

  it('prints what it deleted', async () => {
    const name = `${registry.host}/team/app:1`;
    expect(await runCommandLine(['delete', '--json', name])).toBe(0);
    expect(JSON.parse(written)).toEqual({ name, digest });
  });

  it('does not take a name without tag and digest for :latest', async () => {
    registry.manifests.set('latest', registry.manifests.get('1')!);
    expect(await runCommandLine(['delete', `${registry.host}/team/app`])).toBe(2);
    expect(registry.requests).toEqual([]);
  });

  it('deletes nothing that is no registry', async () => {
    expect(await runCommandLine(['delete', 'oci:somewhere:1'])).toBe(2);
    expect(written).toContain('only images in registries');
  });
});
