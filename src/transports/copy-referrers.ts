import { RafterError } from '../errors.js';
import type { Descriptor } from '../image/descriptor.js';
import { STARTUP_PROFILE } from '../image/media-types.js';
import type { ImageSource } from '../image/source.js';
import { isStartupLayer } from '../image/startup-layer.js';
import { latestProfile } from '../image/startup-profile.js';
import type { Collector, Document } from './collect.js';

/** How far what refers to something is followed: a signature of a list of packages of an image is two. */
const MAX_REFERRER_DEPTH = 8;

/** Which of the artifacts that refer to an image are meant: the start-up profile that a mount of it would ask for, or all of them. */
export type ReferrersWanted = 'profile' | 'all';

/**
 * Adds to `found` what refers to the manifests in it, and for `all` what refers to that in turn.
 * UNSUPPORTED for `all` of a source that does not know what refers to an image, LIMIT_EXCEEDED for a chain without end.
 */
export async function collectReferrers(
  source: ImageSource,
  found: Collector,
  { wanted, signal }: { wanted: ReferrersWanted; signal?: AbortSignal | undefined },
): Promise<void> {
  if (source.listReferrers === undefined) {
    if (wanted === 'profile') return;
    throw new RafterError('UNSUPPORTED', `${source.name}: what refers to an image is not kept there`);
  }
  const list = wanted === 'profile' ? profileOf : allOf;
  let start = 0;
  for (let depth = 0; start < found.documents.length; depth++) {
    if (depth > MAX_REFERRER_DEPTH)
      throw new RafterError(
        'LIMIT_EXCEEDED',
        `${source.name}: manifests refer to one another more than ${MAX_REFERRER_DEPTH} deep`,
      );
    const added = found.documents.slice(start);
    start = found.documents.length;
    for (const document of added)
      for (const referrer of await list(source, document, signal)) await found.addNamed(referrer);
  }
}

/** The latest profile of an image without a start-up pack: mounts ask for no other. */
async function profileOf(
  source: ImageSource,
  { descriptor, kind, manifest }: Document,
  signal: AbortSignal | undefined,
): Promise<Descriptor[]> {
  if (kind !== 'nydus' || manifest.kind === 'index' || manifest.layers.some(isStartupLayer)) return [];
  const options = { artifactType: STARTUP_PROFILE, signal };
  const profile = latestProfile((await source.listReferrers?.(descriptor.digest, options)) ?? []);
  return profile === undefined ? [] : [profile];
}

async function allOf(
  source: ImageSource,
  { descriptor }: Document,
  signal: AbortSignal | undefined,
): Promise<Descriptor[]> {
  return (await source.listReferrers?.(descriptor.digest, { signal })) ?? [];
}
