import { isRafterError, RafterError } from '../errors.js';
import type { Descriptor } from './descriptor.js';
import type { Index, Manifest } from './manifest.js';
import { isNydusManifest } from './nydus-manifest.js';
import { selectPlatform } from './platform.js';

/** A manifest and the descriptor that names it. */
export interface FoundManifest {
  descriptor: Descriptor;
  manifest: Manifest;
}

export interface FindManifestOptions {
  /** Whose image it is, for messages. */
  name: string;
  /** `linux/arm64`; default is this machine's. */
  platform?: string | undefined;
  /** Which to take where an index has an ordinary and a Nydus manifest for the platform. Default: the Nydus one. */
  prefer?: 'plain' | 'nydus';
  /** Reads and parses what a descriptor names. */
  read(descriptor: Descriptor): Promise<Manifest | Index>;
}

/**
 * The manifest that `top` is or, if it is an index, has for the platform, of the preferred kind if there is one.
 * Throws NOT_FOUND if there is none for the platform, UNSUPPORTED for an index in an index, and what `read` throws.
 */
export async function findManifest(top: Descriptor, options: FindManifestOptions): Promise<FoundManifest> {
  const { name, platform, prefer = 'nydus', read } = options;
  const parsed = await read(top);
  if (parsed.kind === 'manifest') return { descriptor: top, manifest: parsed };
  let index: Index = parsed;
  for (;;) {
    const descriptor = selectPlatform(index, platform, { prefer });
    const manifest = await read(descriptor);
    if (manifest.kind === 'index') throw new RafterError('UNSUPPORTED', `${name}: an index inside an index`);
    if (isNydusManifest(manifest) === (prefer === 'nydus')) return { descriptor, manifest };
    // Not every tool marks the index entry, so the other manifests of the platform are looked at too.
    const others = index.manifests.filter((entry) => entry !== descriptor);
    if (!hasPlatform({ ...index, manifests: others }, platform)) return { descriptor, manifest };
    index = { ...index, manifests: others };
  }
}

function hasPlatform(index: Index, platform: string | undefined): boolean {
  try {
    return selectPlatform(index, platform, { prefer: 'nydus' }).platform !== undefined;
  } catch (error) {
    if (isRafterError(error, 'NOT_FOUND')) return false;
    throw error;
  }
}
