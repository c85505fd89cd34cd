import { RafterError } from '../errors.js';
import { algorithmOf, type Digest } from '../image/descriptor.js';
import { headBlob } from './blobs.js';
import { RegistryError } from './error.js';
import { withRetry } from './retry.js';
import type { Session } from './session.js';
import type { RequestBody } from './transport.js';
import { beginUpload, endUpload, sendPiece, type UploadPlace, uploadStatus } from './upload-session.js';

/** Bytes of a piece where a blob is sent in pieces. Small enough for proxies that limit requests to tens of MB. */
const PIECE_SIZE = 16 << 20;
/** Most bytes that a registry may ask a piece to have. */
const MAX_PIECE = 64 << 20;
/** How often the registry may say that it has other bytes than were sent. */
const MAX_RESUMES = 10;

/** A blob to send. */
export interface UploadBlob {
  digest: Digest;
  /** Bytes of the blob. */
  size: number;
  /** Bytes [start, end), default to the end; called once per attempt. */
  body(start: number, end?: number): RequestBody;
}

export interface WayOptions {
  /** An upload that is begun already, for the first attempt. */
  place?: UploadPlace | undefined;
  signal?: AbortSignal | undefined;
}

/** Sends a blob by one PUT with everything, which is what every registry takes. Each attempt is a new upload. */
export async function putWhole(session: Session, blob: UploadBlob, options: WayOptions): Promise<void> {
  const { signal } = options;
  let { place } = options;
  let attempts = 0;
  await session.retry(async () => {
    // The answer alone may have been lost.
    if (attempts++ > 0 && (await isStored(session, blob, signal))) return;
    const begun = place ?? (await beginUpload(session, { signal }))!;
    place = undefined;
    const { digest } = blob;
    const said = await endUpload(session, { place: begun, digest, body: blob.body(0) }, signal);
    await checkStored(session, blob, { said, signal });
  }, signal);
}

/** Sends a blob in pieces of a PATCH each, then ends it. A piece that fails is resumed where the registry says. */
export async function putPieces(session: Session, blob: UploadBlob, options: WayOptions): Promise<void> {
  const place = await patchAll(session, blob, { ...options, pieceSize: PIECE_SIZE });
  await finishUpload(session, blob, { ...options, place });
}

/** Sends a blob by one PATCH without a length, as docker does, then ends it. */
export async function putStream(session: Session, blob: UploadBlob, options: WayOptions): Promise<void> {
  const place = await patchAll(session, blob, options);
  await finishUpload(session, blob, { ...options, place });
}

/** What is to be sent by PATCH; its size need be known only when all of it was sent. */
type PatchBlob = Pick<UploadBlob, 'size' | 'body'>;

interface PatchOptions extends WayOptions {
  pieceSize?: number;
  /** Hears of every upload that is begun. */
  onPlace?: (place: UploadPlace) => void;
}

/**
 * Sends all of a blob by PATCH: in pieces of `pieceSize` bytes, or one request without it. After a failure the registry is asked
 * how far the upload is; one that has forgotten it (most do) gets everything again. UNSUPPORTED if the registry counts otherwise.
 */
export async function patchAll(
  session: Session,
  blob: PatchBlob,
  { signal, pieceSize, onPlace, ...options }: PatchOptions,
): Promise<UploadPlace> {
  let { place } = options;
  let done = 0;
  let isBroken = false;
  let resumes = 0;
  const work = async () => {
    if (place !== undefined && isBroken) {
      place = await resumablePlace(session, place, { limit: blob.size, signal });
    }
    isBroken = false;
    if (place === undefined) done = 0;
    else done = place.received ?? done;
    place ??= (await beginUpload(session, { signal }))!;
    onPlace?.(place);
    do {
      const end = pieceSize === undefined ? undefined : pieceEnd(session, { blob, place, done, pieceSize });
      isBroken = true;
      const body = pieceSize === undefined ? lengthless(blob.body(done)) : blob.body(done, end);
      const sent: UploadPlace = await sendPiece(session, { place, start: done, body }, signal);
      isBroken = false;
      place = sent;
      const expected: number = end ?? blob.size;
      const received = sent.received ?? expected;
      const isWrong = received !== expected && !(received === 0 && expected === 1);
      if (isWrong && (received < done || received > expected || ++resumes > MAX_RESUMES)) {
        throw new RafterError(
          'UNSUPPORTED',
          `${session.name}: the registry says that it has ${received} bytes of an upload, ${expected} were sent`,
        );
      }
      done = isWrong ? received : expected;
    } while (done < blob.size);
    return place;
  };
  const resumable = async () => {
    try {
      return await work();
    } catch (error) {
      // The registry is at another byte than we are: it says at which when it is asked.
      if (!(error instanceof RegistryError) || error.status !== 416 || ++resumes > MAX_RESUMES) throw error;
      throw new RafterError('UNAVAILABLE', error.message, { cause: error });
    }
  };
  return withRetry(resumable, {
    policy: session.policy,
    signal,
    name: session.name,
    progress: () => done,
  });
}

/** PUT without a body after all was sent by PATCH. */
export async function finishUpload(
  session: Session,
  blob: Pick<UploadBlob, 'digest' | 'size'>,
  { place, signal }: { place: UploadPlace; signal?: AbortSignal | undefined },
): Promise<void> {
  let attempts = 0;
  await session.retry(async () => {
    if (attempts++ > 0 && (await isStored(session, blob, signal))) return;
    const said = await endUpload(session, { place, digest: blob.digest }, signal);
    await checkStored(session, blob, { said, signal });
  }, signal);
}

async function resumablePlace(
  session: Session,
  place: UploadPlace,
  { limit, signal }: { limit: number; signal: AbortSignal | undefined },
): Promise<UploadPlace | undefined> {
  const status = await uploadStatus(session, place, signal);
  if (status?.received === undefined || status.received > limit) return undefined;
  return status;
}

function pieceEnd(
  session: Session,
  { blob, place, done, pieceSize }: { blob: PatchBlob; place: UploadPlace; done: number; pieceSize: number },
): number {
  if (place.minPiece > MAX_PIECE) {
    throw new RafterError(
      'LIMIT_EXCEEDED',
      `${session.name}: the registry wants pieces of at least ${place.minPiece} bytes, more than the limit of ${MAX_PIECE}`,
    );
  }
  return Math.min(blob.size, done + Math.max(pieceSize, place.minPiece));
}

function lengthless(body: RequestBody): RequestBody {
  return { ...body, size: undefined };
}

async function isStored(
  session: Session,
  { digest, size }: Pick<UploadBlob, 'digest' | 'size'>,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const stored = await headBlob(session, digest, { access: 'push', signal });
  return stored !== undefined && (stored.size === undefined || stored.size === size);
}

async function checkStored(
  session: Session,
  blob: Pick<UploadBlob, 'digest' | 'size'>,
  { said, signal }: { said: string | undefined; signal: AbortSignal | undefined },
): Promise<void> {
  const { digest } = blob;
  if (said === digest) return;
  // A registry that names blobs by one algorithm says its own name of what it stored under another.
  if (said !== undefined && algorithmOf(said) === algorithmOf(digest)) {
    throw new RafterError(
      'DIGEST_MISMATCH',
      `${session.name}: the registry stored ${said} instead of ${digest}`,
    );
  }
  if (!(await isStored(session, blob, signal))) {
    throw new RafterError('UNAVAILABLE', `${session.name}: the registry took ${digest} but does not have it`);
  }
}
