import { createHash, randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { encodeTarHeader } from '../../src/image/archive/ustar.js';
import type { Descriptor, Digest } from '../../src/image/descriptor.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST } from '../../src/image/media-types.js';

type Algorithm = 'sha256' | 'sha512';

function digestOf(bytes: Buffer, algorithm: Algorithm): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

/** Stores `bytes` as a blob of `target`. */
export async function storeBlob(
  target: LayoutTarget,
  mediaType: string,
  bytes: Buffer,
  algorithm: Algorithm = 'sha256',
): Promise<Descriptor> {
  const writer = await target.createBlob(undefined, { digestGiven: true });
  await writer.write(bytes);
  return { mediaType, ...(await writer.commit(digestOf(bytes, algorithm))) };
}

/** A tar with one file. */
function tarOf(name: string, content: Buffer): Buffer {
  return Buffer.concat([
    encodeTarHeader({ name, type: 'file', mode: 0o644, size: content.length }),
    content,
    Buffer.alloc(-content.length & 511),
    Buffer.alloc(1024),
  ]);
}

/** Stores config, one layer per file and a manifest, named by digests of `algorithm`; not tagged, not committed. */
export async function storeImage(
  target: LayoutTarget,
  files: Record<string, Buffer>,
  options: { architecture?: string; tag?: boolean; algorithm?: Algorithm } = {},
): Promise<Descriptor> {
  const { algorithm = 'sha256' } = options;
  const layers: Descriptor[] = [];
  const diffIds: string[] = [];
  for (const [name, content] of Object.entries(files)) {
    const tar = tarOf(name, content);
    diffIds.push(digestOf(tar, algorithm));
    layers.push(await storeBlob(target, OCI_LAYER_GZIP, gzipSync(tar), algorithm));
  }
  const configJson = {
    architecture: options.architecture ?? 'amd64',
    os: 'linux',
    config: { Cmd: ['/hello'] },
    rootfs: { type: 'layers', diff_ids: diffIds },
    history: diffIds.map((_, i) => ({ created_by: `step ${i}` })),
  };
  const config = await storeBlob(target, OCI_CONFIG, Buffer.from(JSON.stringify(configJson)), algorithm);
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers }));
  return target.putManifest(bytes, OCI_MANIFEST, {
    tag: options.tag ?? false,
    digest: digestOf(bytes, algorithm),
  });
}

/** Writes a layout at `path` with an index `tag` of two images (amd64, arm64) that share a layer of `size` random bytes. */
export async function writeIndexLayout(path: string, tag: string, size = 100_000): Promise<void> {
  const target = new LayoutTarget({ transport: 'oci', path, tag });
  const shared = randomBytes(size);
  const manifests: Descriptor[] = [];
  for (const architecture of ['amd64', 'arm64']) {
    const files = { shared, own: Buffer.from(`for ${architecture}`) };
    const manifest = await storeImage(target, files, { architecture });
    manifests.push({ ...manifest, platform: { os: 'linux', architecture } });
  }
  const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests };
  await target.putManifest(Buffer.from(JSON.stringify(index)), OCI_INDEX, { tag: true });
  await target.commit();
}
