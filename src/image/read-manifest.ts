import type { Descriptor } from './descriptor.js';
import { type Index, type Manifest, parseManifest } from './manifest.js';
import type { ImageSource } from './source.js';

/** Reads and parses the manifest or index that `descriptor` names. Throws what `source` and `parseManifest` throw. */
export async function readManifest(
  source: ImageSource,
  descriptor: Descriptor,
  signal?: AbortSignal,
): Promise<Manifest | Index> {
  const bytes = await source.readManifest(descriptor, signal);
  return parseManifest(bytes, `${source.name}: ${descriptor.digest}`, descriptor.mediaType);
}
