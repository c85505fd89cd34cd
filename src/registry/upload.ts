import { isRafterError } from '../errors.js';
import { isRefusedConnection, RegistryError } from './error.js';
import { refineProfile } from './profiles/index.js';
import type { Profile } from './profiles/profile.js';
import type { Session } from './session.js';
import { beginUpload, type UploadPlace } from './upload-session.js';
import { putPieces, putStream, putWhole, type UploadBlob, type WayOptions } from './upload-ways.js';

/** Below this size a connection that breaks is not taken for a limit of the server. */
const LARGE_BLOB = 16 << 20;

type Way = (session: Session, blob: UploadBlob, options: WayOptions) => Promise<void>;

export interface UploadOptions {
  /** What is known of the registry by its host; its answers may tell more. */
  profile: Profile;
  /** Asks the registry first whether it can take the blob over from another repository of its own, or from any if `from` is missing. */
  mount?: { from?: string | undefined } | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Sends a blob that the repository does not have: by mounting it from elsewhere, else in the first way of `waysFor` that the registry
 * takes. Temporary failures are repeated. DIGEST_MISMATCH if the registry stored something else; if no way works, the first one's error.
 */
export async function uploadBlob(
  session: Session,
  blob: UploadBlob,
  options: UploadOptions,
): Promise<'uploaded' | 'mounted'> {
  const { signal } = options;
  const begun = await beginOrMount(session, blob, options);
  if (begun === 'mounted') return begun;
  let place: UploadPlace | undefined = begun;
  const profile = refineProfile(options.profile, place.headers);
  let failure: unknown;
  for (const way of waysFor(profile, blob.size)) {
    try {
      await way(session, blob, { place, signal });
      return 'uploaded';
    } catch (error) {
      failure ??= error;
      if (!isRefusedWay(error, { way, size: blob.size })) break;
    }
    place = undefined;
  }
  throw failure;
}

/** How to send `size` bytes, best first. One PUT is one request less and works everywhere; the rest is for what limits it. */
function waysFor({ upload = {} }: Profile, size: number): Way[] {
  const { stream = true, pieces = true, largestPut = Number.POSITIVE_INFINITY } = upload;
  const others = [...(stream ? [putStream] : []), ...(pieces ? [putPieces] : [])];
  return size > largestPut ? [...others.toReversed(), putWhole] : [putWhole, ...others];
}

async function beginOrMount(
  session: Session,
  { digest }: UploadBlob,
  { mount, signal }: UploadOptions,
): Promise<UploadPlace | 'mounted'> {
  if (mount !== undefined) {
    try {
      const begun = await session.retry(
        () => beginUpload(session, { mount: { digest, ...mount }, signal }),
        signal,
      );
      return begun ?? 'mounted';
    } catch (error) {
      // Whatever it has against mounting, or reading the other repository: an ordinary upload may work.
      if (!(error instanceof RegistryError)) throw error;
    }
  }
  return (await session.retry(() => beginUpload(session, { signal }), signal))!;
}

/** True for an error that another way of sending the same bytes may not have. */
function isRefusedWay(error: unknown, { way, size }: { way: Way; size: number }): boolean {
  if (error instanceof RegistryError) {
    const { status, errors } = error;
    if (status === 400) {
      // Sent whole, these are final; after PATCH they come from a registry that kept only some of what it was sent.
      const isDigest = errors.some(({ code }) => code === 'DIGEST_INVALID' || code === 'SIZE_INVALID');
      return !isDigest || way !== putWhole;
    }
    return [404, 405, 408, 411, 413, 415, 416, 501, 504].includes(status);
  }
  if (isRafterError(error, 'UNSUPPORTED')) return true;
  return isRafterError(error, 'UNAVAILABLE') && size > LARGE_BLOB && !isRefusedConnection(error);
}
