import type { Descriptor } from './descriptor.js';
import { type FoundManifest, findManifest } from './find-manifest.js';
import { type Index, type Manifest, parseManifest } from './manifest.js';
import type { ImageSource } from './source.js';

/** Reads and parses the manifest or index that `descriptor` names. Throws what `source` and `parseManifest` throw. */
export async function readManifest(
  source: ImageSource,
  descriptor: Descriptor,
  signal?: AbortSignal,
): Promise<Manifest | Index> {
  const bytes = await source.readManifest(descriptor, signal);
  // A registry that does not say what it is leaves it to the manifest.
  return parseManifest(bytes, `${source.name}: ${descriptor.digest}`, descriptor.mediaType || undefined);
}

export interface FindOptions {
  /** `linux/arm64`; which image of an index. Default: this machine's. */
  platform?: string | undefined;
  /** Which to take where an index has an ordinary and a Nydus manifest for the platform. Default: the Nydus one. */
  prefer?: 'plain' | 'nydus';
  signal?: AbortSignal | undefined;
}

/** The manifest of the image that `top` of `source` is or, if it is an index, has for the platform. Throws as `findManifest`. */
export function findManifestOf(
  source: ImageSource,
  top: Descriptor,
  { signal, ...options }: FindOptions = {},
): Promise<FoundManifest> {
  const read = (descriptor: Descriptor) => readManifest(source, descriptor, signal);
  return findManifest(top, { ...options, name: source.name, read });
}
