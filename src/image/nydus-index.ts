import type { Descriptor } from './descriptor.js';
import type { Index } from './manifest.js';
import { NYDUS_MANIFEST_ARTIFACT, OCI_INDEX } from './media-types.js';

export interface NydusIndexParts {
  /** The index that was converted; undefined if the source is a single image. */
  source: Index | undefined;
  /** What was converted, in the order of the source: the entry of the source and the Nydus manifest made of it. */
  images: { entry: Descriptor; nydus: Pick<Descriptor, 'mediaType' | 'digest' | 'size'> }[];
  /** Entries of the source that are taken over as they are. */
  carried: Descriptor[];
  /** Lists the source's images too, in front of the Nydus ones. */
  merge: boolean;
}

/**
 * Builds the index of several Nydus images, or of Nydus images beside the ordinary ones that they were made of. Entries keep their platform
 * and annotations. In a merged index, which is always of OCI type, clients that do not know Nydus come to the ordinary
 * image, since it stands first; the others are marked by their artifact type. The index's own annotations and unknown members
 * stay. Same input, same bytes.
 */
export function buildNydusIndex(parts: NydusIndexParts): { bytes: Buffer; mediaType: string } {
  const { source, images, carried, merge } = parts;
  const mediaType = merge || source === undefined ? OCI_INDEX : source.mediaType;
  const converted = images.map(({ entry, nydus }): Descriptor => {
    const { mediaType: type, digest, size } = nydus;
    const { platform, annotations } = entry;
    return {
      mediaType: type,
      digest,
      size,
      ...(annotations && { annotations }),
      ...(platform && { platform }),
      ...(merge && { artifactType: NYDUS_MANIFEST_ARTIFACT }),
    };
  });
  const originals = merge ? images.map(({ entry }) => entry) : [];
  const index = {
    ...source?.raw,
    schemaVersion: 2,
    mediaType,
    manifests: [...originals, ...converted, ...carried],
  };
  return { bytes: Buffer.from(JSON.stringify(index)), mediaType };
}
