import { RafterError } from '../errors.js';
import type { Descriptor, Platform } from '../image/descriptor.js';
import type { Index } from '../image/manifest.js';
import { ATTESTATION, isManifestType, REFERENCE_DIGEST, REFERENCE_TYPE } from '../image/media-types.js';
import { isNydusEntry, namesPlatform, samePlatform, selectPlatform } from '../image/platform.js';

/** Which images of an index are converted: those of the platforms, or every one for Linux. */
export type PlatformChoice = Platform[] | 'all';

/** What becomes of an index's entries; those in neither list are left out. Both are in the index's order. */
export interface SelectedEntries {
  /** To be converted. */
  images: Descriptor[];
  /** To be taken over as they are: attestations and other artifacts, with `all` also images for other systems than Linux. */
  carried: Descriptor[];
}

/**
 * Chooses from an index. Left out are images that nobody asked for, what attests them, and Nydus images that stand beside
 * the ordinary image of their platform: that one is converted anew. NOT_FOUND, saying what there is, if a platform or, with
 * `all`, any image for Linux is missing.
 */
export function selectEntries(index: Index, choice: PlatformChoice): SelectedEntries {
  const chosen = new Set(
    choice === 'all'
      ? index.manifests.filter((entry) => isConvertible(entry, index))
      : choice.map((platform) => selectPlatform(index, platform)),
  );
  if (chosen.size === 0) {
    throw new RafterError('NOT_FOUND', 'no image for Linux in the index', {
      hint: `it has ${index.manifests.length} entries; rafter copy takes an index as it is`,
    });
  }
  const isKept = (entry: Descriptor) =>
    chosen.has(entry) || !isImage(entry, index) || (choice === 'all' && entry.platform?.os !== 'linux');
  const dropped = new Set(index.manifests.filter((entry) => !isKept(entry)).map(({ digest }) => digest));
  const isAboutDropped = ({ annotations }: Descriptor) => dropped.has(annotations?.[REFERENCE_DIGEST] ?? '');
  return {
    images: index.manifests.filter((entry) => chosen.has(entry)),
    carried: index.manifests.filter((entry) => !chosen.has(entry) && isKept(entry) && !isAboutDropped(entry)),
  };
}

function isConvertible(entry: Descriptor, index: Index): boolean {
  if (!isImage(entry, index)) return false;
  if (!namesPlatform(entry)) return true;
  const platform = entry.platform!;
  if (platform.os !== 'linux') return false;
  return !isNydusEntry(entry) || !index.manifests.some((other) => isPlainOf(other, platform));
}

function isPlainOf(entry: Descriptor, platform: Platform): boolean {
  return entry.platform !== undefined && samePlatform(entry.platform, platform) && !isNydusEntry(entry);
}

/** True for what is an image of some platform, not an attestation, another artifact or an index. */
function isImage(entry: Descriptor, { manifests }: Index): boolean {
  if (!isManifestType(entry.mediaType)) return false;
  if (entry.annotations?.[REFERENCE_TYPE] === ATTESTATION) return false;
  if (entry.artifactType !== undefined && !isNydusEntry(entry)) return false;
  // An entry alone is meant, whatever it says.
  if (!namesPlatform(entry)) return manifests.length === 1;
  return entry.platform!.os !== 'unknown';
}
