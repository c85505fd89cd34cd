import { RafterError } from '../errors.js';
import type { Descriptor, Platform } from './descriptor.js';
import type { Index } from './manifest.js';
import { NYDUS_MANIFEST_ARTIFACT, NYDUS_OS_FEATURE } from './media-types.js';

/** Node.js names of processors that Go, and with it OCI, calls otherwise. */
const GO_ARCHITECTURES: Record<string, string> = {
  x64: 'amd64',
  ia32: '386',
  mipsel: 'mipsle',
  ppc64: 'ppc64le',
};
/** The variant that is meant when a platform of this architecture names none (containerd's normal form). */
const DEFAULT_VARIANTS: Record<string, string> = { arm64: 'v8', arm: 'v7', amd64: 'v1' };

/** The platform of this machine. */
export function hostPlatform(): Platform {
  return { os: process.platform, architecture: GO_ARCHITECTURES[process.arch] ?? process.arch };
}

/** Reads `OS/ARCHITECTURE[/VARIANT]`, e.g. `linux/arm64/v8`. USAGE if it is something else. */
export function parsePlatform(text: string): Platform {
  const [, os, architecture, variant] = /^([a-z0-9]+)\/([a-z0-9_]+)(?:\/([a-z0-9.]+))?$/.exec(text) ?? [];
  if (os === undefined || architecture === undefined) {
    throw new RafterError('USAGE', `${JSON.stringify(text.slice(0, 100))} is not a platform`, {
      hint: 'a platform is OS/ARCHITECTURE[/VARIANT], for example linux/amd64 or linux/arm64/v8',
    });
  }
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
}

/** `linux/arm64/v8`. */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os || '?', architecture || '?', ...(variant ? [variant] : [])].join('/');
}

export interface SelectOptions {
  /** Which to take where an index has an ordinary and a Nydus manifest for the platform. Default: the ordinary one. */
  prefer?: 'plain' | 'nydus' | undefined;
}

/**
 * The manifest of an index that is for `platform` (text, or this machine's if undefined). Where several fit, the first of
 * the preferred kind. An index with a single entry that names no platform has that entry for every platform. NOT_FOUND,
 * listing what there is, if none fits.
 */
export function selectPlatform(
  index: Index,
  platform: string | Platform | undefined,
  options: SelectOptions = {},
): Descriptor {
  const wanted = typeof platform === 'string' ? parsePlatform(platform) : (platform ?? hostPlatform());
  const fitting = index.manifests.filter((entry) => entry.platform && samePlatform(entry.platform, wanted));
  const nydus = options.prefer === 'nydus';
  const found = fitting.find((entry) => isNydusEntry(entry) === nydus) ?? fitting[0];
  if (found !== undefined) return found;

  const [only] = index.manifests;
  if (index.manifests.length === 1 && only !== undefined && !namesPlatform(only)) return only;

  const known = index.manifests.flatMap((entry) =>
    namesPlatform(entry) ? [formatPlatform(entry.platform!)] : [],
  );
  const listed = [...new Set(known)].filter((text) => text !== 'unknown/unknown');
  throw new RafterError('NOT_FOUND', `no image for ${formatPlatform(wanted)} in the index`, {
    hint: listed.length === 0 ? 'its entries name no platform' : `there is ${listed.join(', ')}`,
  });
}

/** True for an index entry that is marked as a Nydus manifest, by artifact type or by the older OS feature. */
export function isNydusEntry(entry: Descriptor): boolean {
  return (
    entry.artifactType === NYDUS_MANIFEST_ARTIFACT ||
    (entry.platform?.['os.features'] ?? []).includes(NYDUS_OS_FEATURE)
  );
}

/** True if both mean the same machine; a variant that is not named is the architecture's usual one. */
export function samePlatform(one: Platform, other: Platform): boolean {
  return (
    one.os === other.os && one.architecture === other.architecture && variantOf(one) === variantOf(other)
  );
}

function variantOf({ architecture, variant }: Platform): string | undefined {
  return variant || DEFAULT_VARIANTS[architecture];
}

/** True for an index entry that says which machine it is for. */
export function namesPlatform(entry: Descriptor): boolean {
  return Boolean(entry.platform?.os || entry.platform?.architecture);
}
