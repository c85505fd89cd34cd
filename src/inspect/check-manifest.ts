import type { ImageConfig } from '../image/config.js';
import type { Digest } from '../image/descriptor.js';
import type { Manifest } from '../image/manifest.js';
import {
  DOCKER_LAYER_GZIP,
  NYDUS_BLOB,
  NYDUS_BLOB_LAYER,
  NYDUS_BOOTSTRAP,
  NYDUS_FS_VERSION,
  OCI_LAYER_GZIP,
} from '../image/media-types.js';
import type { FaultList } from './faults.js';

/**
 * Checks what a Nydus manifest says of its layers: the rules by which nydus-snapshotter finds them and nydusify checks them.
 */
export function checkManifest(manifest: Manifest, faults: FaultList): void {
  const blobs = manifest.layers.slice(0, -1);
  const last = manifest.layers.at(-1);
  for (const [i, { mediaType, annotations, digest }] of blobs.entries()) {
    const name = `layer ${i + 1} (${digest})`;
    if (mediaType !== NYDUS_BLOB_LAYER)
      faults.add('manifest', `${name}: media type ${mediaType}, expected ${NYDUS_BLOB_LAYER}`);
    if (annotations?.[NYDUS_BLOB] !== 'true')
      faults.add('manifest', `${name}: annotation ${NYDUS_BLOB} is not "true"`);
  }
  if (!last) return;
  const name = `layer ${manifest.layers.length} (${last.digest})`;
  if (last.mediaType !== OCI_LAYER_GZIP && last.mediaType !== DOCKER_LAYER_GZIP)
    faults.add('manifest', `${name}: media type ${last.mediaType}, expected ${OCI_LAYER_GZIP}`);
  if (last.annotations?.[NYDUS_BOOTSTRAP] !== 'true')
    faults.add('manifest', `${name}: annotation ${NYDUS_BOOTSTRAP} is not "true"`);
}

/** Compares the version that the manifest announces, if it does, with that of the bootstrap. */
export function checkFsVersion(manifest: Manifest, version: number, faults: FaultList): void {
  for (const { digest, annotations } of manifest.layers.slice(-1)) {
    const announced = annotations?.[NYDUS_FS_VERSION] ?? `${version}`;
    if (announced !== `${version}`)
      faults.add(
        'manifest',
        `layer ${digest}: annotation ${NYDUS_FS_VERSION} is "${announced}", expected "${version}"`,
      );
  }
}

/** Checks the configuration's diff ids: the blobs' own digests, then that of the bootstrap layer's tar (undefined: unknown). */
export function checkDiffIds(
  {
    manifest,
    config,
    bootstrapDiffId,
  }: { manifest: Manifest; config: ImageConfig; bootstrapDiffId?: Digest | undefined },
  faults: FaultList,
): void {
  const { layers } = manifest;
  const { diffIds } = config;
  if (diffIds.length !== layers.length) {
    faults.add('config', `${diffIds.length} diff ids for ${layers.length} layers`);
    return;
  }
  for (const [i, { digest }] of layers.entries()) {
    const expected = i === layers.length - 1 ? bootstrapDiffId : digest;
    if (expected !== undefined && diffIds[i] !== expected)
      faults.add('config', `diff id ${i + 1} is ${diffIds[i]}, but the layer's is ${expected}`);
  }
}
