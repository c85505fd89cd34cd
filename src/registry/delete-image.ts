import { isRafterError, RafterError } from '../errors.js';
import type { Digest } from '../image/descriptor.js';
import { formatReference, type RegistryReference } from '../image/reference.js';
import { RegistryError } from './error.js';
import { deleteManifest, headManifest } from './manifests.js';
import type { RegistryOptions } from './options.js';
import { openSession } from './session.js';

/** What was deleted. */
export interface DeletedImage {
  name: string;
  /** Of the manifest that was named. */
  digest: Digest;
}

/** Statuses of registries that delete, but not what they were asked to: Distribution 2 takes digests only. */
const REFUSED = [400, 405];

/**
 * Deletes what `reference` names (OCI distribution spec, content management): by digest a manifest with all its tags, by tag that tag alone.
 * Blobs are left to the registry. NOT_FOUND if it is not there, UNSUPPORTED if the registry does not delete that.
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
    try {
      if (!(await deleteManifest(session, place, signal))) throw missing(name);
    } catch (error) {
      throw explained(error, { name, digest, found, repository: session.name });
    }
    return { name, digest: found };
  } finally {
    await session.close();
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
