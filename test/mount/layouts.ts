import { cpSync, createReadStream, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packBootstrapLayer } from '../../src/image/bootstrap-layer.js';
import type { Descriptor } from '../../src/image/descriptor.js';
import { LayoutSource } from '../../src/image/layout-source.js';
import { LayoutTarget } from '../../src/image/layout-target.js';
import {
  NYDUS_BLOB,
  NYDUS_BLOB_LAYER,
  NYDUS_BOOTSTRAP,
  OCI_CONFIG,
  OCI_LAYER_GZIP,
  OCI_MANIFEST,
} from '../../src/image/media-types.js';
import { golden, goldenBlobFile, goldenBootstrap } from './golden.js';

/** An image that nydusify wrote, in fixtures/golden/oci. */
export function goldenLayout(name: string): LayoutSource {
  return new LayoutSource({ transport: 'oci', path: join(golden, 'oci', name) });
}

/** Copies the image that nydusify wrote with `--oci-ref` to `path`, with the ordinary layers that it refers to. */
export function writeReferenceLayout(path: string): LayoutSource {
  for (const name of ['tiny-src', 'tiny-ociref'])
    cpSync(join(golden, 'oci', name), path, { recursive: true });
  return new LayoutSource({ transport: 'oci', path });
}

async function store(target: LayoutTarget, mediaType: string, bytes: Buffer): Promise<Descriptor> {
  const writer = await target.createBlob();
  await writer.write(bytes);
  return { mediaType, ...(await writer.commit()) };
}

/**
 * Writes the golden image `name` (`full`, `small`, ...) as an OCI layout at `path`, tag `latest`, without `.blob.meta` files.
 * Returns the paths of its data blobs in the layout.
 */
export async function writeGoldenLayout(name: string, path: string): Promise<string[]> {
  const target = new LayoutTarget({ transport: 'oci', path, tag: 'latest' });
  const layers: Descriptor[] = [];
  for (const { id } of goldenBootstrap(name).blobs) {
    const writer = await target.createBlob();
    for await (const piece of createReadStream(goldenBlobFile(id))) await writer.write(piece as Buffer);
    const stored = await writer.commit(`sha256:${id}`);
    layers.push({ mediaType: NYDUS_BLOB_LAYER, ...stored, annotations: { [NYDUS_BLOB]: 'true' } });
  }
  const bootstrap = readFileSync(join(golden, `v6/${name}.boot`));
  const { bytes, diffId } = await packBootstrapLayer({ bootstrap, blobMetas: [] });
  const blobs = [...layers];
  layers.push({
    ...(await store(target, OCI_LAYER_GZIP, bytes)),
    annotations: { [NYDUS_BOOTSTRAP]: 'true' },
  });
  const config = {
    architecture: 'amd64',
    os: 'linux',
    config: { Cmd: ['/bin/hello'] },
    rootfs: { type: 'layers', diff_ids: [...blobs.map(({ digest }) => digest), diffId] },
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: await store(target, OCI_CONFIG, Buffer.from(JSON.stringify(config))),
    layers,
  };
  await target.putManifest(Buffer.from(JSON.stringify(manifest)), OCI_MANIFEST, { tag: true });
  await target.commit();
  return blobs.map(({ digest }) => join(path, 'blobs/sha256', digest.slice('sha256:'.length)));
}
