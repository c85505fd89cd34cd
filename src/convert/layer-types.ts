import { RafterError } from '../errors.js';
import type { Descriptor } from '../image/descriptor.js';
import { isNondistributable } from '../image/media-types.js';

/** Layers of OCI and Docker images: a tar, plain or compressed. What the bytes are is told from the bytes. */
const LAYER_TYPE =
  /^application\/vnd\.(oci\.image\.layer\.v1\.tar|docker\.image\.rootfs\.diff\.tar)([+.](gzip|zstd))?$/;

/** UNSUPPORTED, with a hint, unless `layer` is a file system layer whose bytes are in the registry. */
export function checkLayerType({ mediaType }: Descriptor, name: string): void {
  if (LAYER_TYPE.test(mediaType)) return;
  if (isNondistributable(mediaType)) {
    throw new RafterError(
      'UNSUPPORTED',
      `${name}: a layer that its owner does not let registries hand out (${mediaType})`,
      {
        hint: 'such layers are in Windows images; they cannot be converted',
      },
    );
  }
  const isEncrypted = mediaType.endsWith('+encrypted');
  throw new RafterError(
    'UNSUPPORTED',
    `${name}: ${isEncrypted ? 'an encrypted layer' : 'not a file system layer'} (${mediaType.slice(0, 100)})`,
    isEncrypted ? { hint: 'decrypt the image first' } : {},
  );
}
