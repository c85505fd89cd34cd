import type { Descriptor } from './descriptor.js';
import type { Index, Manifest } from './manifest.js';
import { CONTAINERD_NAME, REF_NAME } from './media-types.js';

/** What an index says of a manifest that refers to something: its type is that of its configuration if it names none. */
export function referrerDescriptor(
  manifest: Manifest | Index,
  descriptor: Pick<Descriptor, 'mediaType' | 'digest' | 'size'>,
): Descriptor {
  const { mediaType, digest, size } = descriptor;
  const artifactType =
    manifest.artifactType ?? (manifest.kind === 'manifest' ? manifest.config.mediaType : undefined);
  const { annotations } = manifest;
  return {
    mediaType,
    digest,
    size,
    ...(annotations && { annotations }),
    ...(artifactType && { artifactType }),
  };
}

/** The same for the index.json of a layout, where an annotation would name it. */
export function untaggedReferrer(
  manifest: Manifest | Index,
  descriptor: Pick<Descriptor, 'mediaType' | 'digest' | 'size'>,
): Descriptor {
  const { annotations, ...entry } = referrerDescriptor(manifest, descriptor);
  const kept = Object.entries(annotations ?? {}).filter(
    ([key]) => key !== REF_NAME && key !== CONTAINERD_NAME,
  );
  return { ...entry, ...(kept.length > 0 && { annotations: Object.fromEntries(kept) }) };
}
