import { isRafterError, RafterError } from '../errors.js';
import type { Digest } from '../image/descriptor.js';
import { parseManifest } from '../image/manifest.js';
import { formatReference, type RegistryReference } from '../image/reference.js';
import { RegistryError } from './error.js';
import { deleteManifest, getManifest, headManifest } from './manifests.js';
import type { RegistryOptions } from './options.js';
import { removeFromReferrersTag } from './referrers-tag.js';
import { openSession, type Session } from './session.js';

/** What was deleted. */
export interface DeletedImage {
  name: string;
  /** Of the manifest that was named. */
  digest: Digest;
}

/** Statuses of registries that delete, but not what they were asked to: Distribution 2 takes digests only. */
const REFUSED = [400, 405];

/**
 * Deletes what `reference` names (OCI distribution spec, content management): by digest a manifest with all its tags, and from the list of
 * what refers to its subject, where that is a tag; by tag that tag alone. Blobs are left to the registry. NOT_FOUND if it is not there,
 * UNSUPPORTED if the registry does not delete that.
 */
export async function deleteImage(
  reference: RegistryReference,
  options: RegistryOptions & { signal?: AbortSignal | undefined },
): Promise<DeletedImage> {
  const { signal } = options;
  const { tag, digest } = reference;
  const place = digest ?? tag ?? 'latest';
  const name = formatReference(reference);
  const session = openSession(reference, options);
  try {
    const found = digest ?? (await headManifest(session, place, { access: 'push', signal }))?.digest;
    if (found === undefined) throw missing(name);
    // Without its tag the manifest, and what it refers to, is still there.
    const subject = digest === undefined ? undefined : await subjectOf(session, digest, signal);
    try {
      if (!(await deleteManifest(session, place, signal))) throw missing(name);
    } catch (error) {
      throw explained(error, { name, digest, found, repository: session.name });
    }
    if (subject !== undefined) await removeFromReferrersTag(session, subject, found, signal);
    return { name, digest: found };
  } finally {
    await session.close();
  }
}

/** What the manifest refers to as its subject; undefined for one that is not there, or not to be understood. */
async function subjectOf(
  session: Session,
  digest: Digest,
  signal: AbortSignal | undefined,
): Promise<Digest | undefined> {
  try {
    const { bytes, descriptor } = await getManifest(session, digest, signal);
    return parseManifest(bytes, session.name, descriptor.mediaType).subject?.digest;
  } catch (error) {
    if (isRafterError(error, 'NOT_FOUND', 'MALFORMED', 'LIMIT_EXCEEDED', 'DIGEST_MISMATCH')) return undefined;
    throw error;
  }
}

function missing(name: string): RafterError {
  return new RafterError('NOT_FOUND', `${name}: there is nothing to delete`);
}

interface Attempt {
  name: string;
  digest: Digest | undefined;
  found: Digest;
  repository: string;
}

function explained(error: unknown, { name, digest, found, repository }: Attempt): unknown {
  const isRefused = error instanceof RegistryError && REFUSED.includes(error.status);
  if (!isRefused && !isRafterError(error, 'UNSUPPORTED')) return error;
  const hint =
    digest === undefined
      ? `it may delete by digest only, which takes all tags of the image: rafter delete ${repository}@${found}`
      : 'deletion is often switched off: its administrator, or its own web page, may be able to do it';
  return new RafterError('UNSUPPORTED', `${name}: the registry does not delete this`, { cause: error, hint });
}
