import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseReference } from '../../src/image/reference.js';
import { copyImage } from '../../src/transports/copy.js';
import { type AccessOptions, openSource, openTarget } from '../../src/transports/open.js';
import { writeIndexLayout } from '../support/layout-image.js';
import { missingPrograms } from '../support/programs.js';
import { startRegistry, type TestRegistry } from '../support/registry-server.js';

const run = promisify(execFile);
const missing = missingPrograms('docker-registry', 'htpasswd', 'skopeo', 'umoci');
const user = 'anna';
const password = 'pa:ss w0rd%';

let directory: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'rafter-copy-'));
  await writeIndexLayout(join(directory, 'source'), 'both', 3_000_000);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));
beforeEach((context) => {
  if (missing !== undefined) context.skip(missing);
});

async function copy(from: string, to: string, options: AccessOptions = {}) {
  const source = openSource(parseReference(from), options);
  try {
    return await copyImage(source, openTarget(parseReference(to), options));
  } finally {
    await source.close();
  }
}

/** Every blob of a layout as `name: digest of its bytes`. */
function blobsOf(layout: string): string[] {
  const folder = join(layout, 'blobs', 'sha256');
  return readdirSync(folder)
    .sort()
    .map(
      (name) =>
        `${name}:${createHash('sha256')
          .update(readFileSync(join(folder, name)))
          .digest('hex')}`,
    );
}

describe.each([
  { access: 'anonymous', htpasswd: undefined },
  { access: 'with a password', htpasswd: { user, password } },
])('a real registry, $access', ({ htpasswd }) => {
  let registry: TestRegistry;
  const options: AccessOptions = htpasswd
    ? { credentials: { username: user, password } }
    : { dockerConfig: '/nonexistent' };
  const creds = (side: string) => (htpasswd ? [`--${side}creds`, `${user}:${password}`] : []);

  beforeAll(async () => {
    if (missing === undefined) registry = await startRegistry(htpasswd === undefined ? {} : { htpasswd });
  });
  afterAll(() => registry?.stop());

  it('takes an index and its images, gives them back byte for byte, and is not sent again what it has', async () => {
    const source = join(directory, 'source');
    const image = `${registry.host}/team/app:both`;
    const pushed = await copy(`oci:${source}:both`, image, options);
    expect(pushed).toMatchObject({ manifests: 3, copiedBlobs: 5, skippedBlobs: 0 });

    registry.requests.length = 0;
    const again = await copy(`oci:${source}:both`, image, options);
    expect(again).toMatchObject({ copiedBlobs: 0, skippedBlobs: 5, copiedBytes: 0 });
    expect(registry.requests.filter(({ method }) => method === 'POST')).toEqual([]);

    const back = join(directory, `back-${htpasswd === undefined}`);
    await copy(image, `oci:${back}:both`, options);
    expect(blobsOf(back)).toEqual(blobsOf(source));
    expect(again.digest).toBe(pushed.digest);
  });

  it('is read by skopeo, and what skopeo pushed is read by us', async () => {
    const image = `${registry.host}/skopeo:1`;
    await copy(`oci:${join(directory, 'source')}:both`, image, options);
    const pulled = join(directory, `pulled-${htpasswd === undefined}`);
    const flags = ['--src-tls-verify=false', ...creds('src-')];
    await run('skopeo', [
      'copy',
      '--all',
      '--preserve-digests',
      ...flags,
      `docker://${image}`,
      `oci:${pulled}:both`,
    ]);
    expect(blobsOf(pulled)).toEqual(blobsOf(join(directory, 'source')));

    const theirs = `${registry.host}/theirs:1`;
    const pushFlags = ['--dest-tls-verify=false', ...creds('dest-')];
    await run('skopeo', [
      'copy',
      '--all',
      '--preserve-digests',
      ...pushFlags,
      `oci:${pulled}:both`,
      `docker://${theirs}`,
    ]);
    const ours = join(directory, `ours-${htpasswd === undefined}`);
    const summary = await copy(theirs, `oci:${ours}:both`, options);
    expect(summary.manifests).toBe(3);
    expect(blobsOf(ours)).toEqual(blobsOf(pulled));
  });

  it('reads ranges of a blob, and sends no more than them', async () => {
    const image = `${registry.host}/ranges:1`;
    await copy(`oci:${join(directory, 'source')}:both`, image, options);
    const local = openSource(parseReference(`oci:${join(directory, 'source')}:both`));
    const index = JSON.parse((await local.readManifest(await local.resolve())).toString());
    const { layers } = JSON.parse((await local.readManifest(index.manifests[0])).toString());

    const remote = openSource(parseReference(image), options);
    try {
      await remote.resolve();
      registry.requests.length = 0;
      for (const [offset, length] of [
        [0, 1],
        [1_000_000, 70_000],
        [layers[0].size - 10, 10],
      ] as const) {
        expect(await remote.readBlobRange(layers[0], offset, length)).toEqual(
          await local.readBlobRange(layers[0], offset, length),
        );
      }
      expect(registry.bytesSent()).toBe(70_011);
      await expect(remote.readBlobRange(layers[0], layers[0].size - 5, 10)).rejects.toMatchObject({
        code: 'TRUNCATED',
      });
    } finally {
      await remote.close();
    }
  });

  it('says NOT_FOUND for a tag and for a blob that are not there', async () => {
    const remote = openSource(parseReference(`${registry.host}/team/nothing:1`), options);
    try {
      await expect(remote.resolve()).rejects.toMatchObject({ code: 'NOT_FOUND' });
      const blob = { mediaType: 'x', digest: `sha256:${'0'.repeat(64)}`, size: 10 };
      await expect(remote.openBlob(blob)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    } finally {
      await remote.close();
    }
  });

  it('can be away for a moment without anybody noticing', async () => {
    const image = `${registry.host}/away:1`;
    await copy(`oci:${join(directory, 'source')}:both`, image, options);
    await registry.pause();
    const remote = openSource(parseReference(image), options);
    try {
      const resolved = remote.resolve();
      setTimeout(() => void registry.resume(), 400);
      expect((await resolved).mediaType).toBe('application/vnd.oci.image.index.v1+json');
    } finally {
      await remote.close();
    }
  });
});

it('tells a wrong password from no password, and shows neither', async () => {
  const registry = await startRegistry({ htpasswd: { user, password } });
  try {
    const image = `${registry.host}/x:1`;
    const wrong = { credentials: { username: user, password: 'gu3ssed' } };
    const refused = await copy(image, `oci:${join(directory, 'never')}`, wrong).catch(
      (error: Error) => error,
    );
    expect(refused).toMatchObject({ code: 'DENIED', hint: expect.stringContaining('was refused') });
    expect(JSON.stringify(refused) + String(refused)).not.toContain('gu3ssed');
    await expect(
      copy(image, `oci:${join(directory, 'never')}`, { dockerConfig: '/nonexistent' }),
    ).rejects.toMatchObject({ code: 'DENIED', hint: expect.stringContaining('no log-in') });

    const config = join(directory, 'config.json');
    const auth = Buffer.from(`${user}:${password}`).toString('base64');
    writeFileSync(config, JSON.stringify({ auths: { [registry.host]: { auth } } }));
    await expect(
      copy(image, `oci:${join(directory, 'never')}`, { dockerConfig: config }),
    ).rejects.toMatchObject({ code: 'NOT_FOUND' });
  } finally {
    await registry.stop();
  }
  expect(readdirSync(directory)).not.toContain('never');
});

it('hints at --plain-http when TLS meets a server without it', async () => {
  const registry = await startRegistry();
  try {
    const source = openSource(parseReference(`${registry.host}/x:1`), { plainHttp: false });
    await expect(source.resolve()).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      temporary: false,
      hint: expect.stringContaining('--plain-http'),
    });
    await source.close();
  } finally {
    await registry.stop();
  }
});

it('leaves layouts that skopeo copies and umoci unpacks', async () => {
  const layout = join(directory, 'judged');
  await copy(`oci:${join(directory, 'source')}:both`, `oci:${layout}:one`);
  await copy(`oci:${join(directory, 'source')}:both`, `oci:${layout}:two`);
  const single = join(directory, 'single');
  await run('skopeo', ['copy', '--override-arch', 'arm64', `oci:${layout}:two`, `oci:${single}:arm`]);
  await run('umoci', ['unpack', '--rootless', '--image', `${single}:arm`, join(directory, 'bundle')]);
  expect(readFileSync(join(directory, 'bundle', 'rootfs', 'own'), 'utf8')).toBe('for arm64');
  const { stdout } = await run('umoci', ['list', '--layout', layout]);
  expect(stdout.trim().split('\n').sort()).toEqual(['one', 'two']);
});
