import { setTimeout as sleep } from 'node:timers/promises';
import { ociDigest } from '../codec/digest.js';
import { RafterError } from '../errors.js';
import type { Descriptor, Digest } from '../image/descriptor.js';
import { MAX_INDEX_ENTRIES } from '../image/manifest.js';
import { OCI_INDEX } from '../image/media-types.js';
import { RegistryError } from './error.js';
import { deleteManifest, putManifest } from './manifests.js';
import { getReferrersTag, referrersTag } from './referrers.js';
import type { Session } from './session.js';

/** How often the index is written anew because somebody else wrote it at the same moment. */
const MAX_ROUNDS = 8;

/**
 * Adds `referrer` to the index of what refers to `subject`, for registries that keep no such list themselves (OCI distribution spec,
 * referrers tag schema). The registry cannot compare and swap, so the index is read again until it has the entry: of two who write at once
 * the one that lost writes again. BUSY if it never stays.
 */
export async function addToReferrersTag(
  session: Session,
  subject: Digest,
  referrer: Descriptor,
  signal?: AbortSignal,
): Promise<void> {
  await editReferrersTag(session, subject, {
    signal,
    edit: (manifests) => [...manifests, referrer],
    isDone: (manifests) => manifests.some(({ digest }) => digest === referrer.digest),
  });
}

/** Takes `referrer` out of that index, as has to be done when it is deleted. An empty index goes too, where the registry deletes. */
export async function removeFromReferrersTag(
  session: Session,
  subject: Digest,
  referrer: Digest,
  signal?: AbortSignal,
): Promise<void> {
  await editReferrersTag(session, subject, {
    signal,
    edit: (manifests) => manifests.filter(({ digest }) => digest !== referrer),
    isDone: (manifests) => manifests.every(({ digest }) => digest !== referrer),
  });
}

interface Edit {
  edit(manifests: Descriptor[]): Descriptor[];
  isDone(manifests: Descriptor[]): boolean;
  signal: AbortSignal | undefined;
}

/** Edits of this program that are under way, by index: they wait for one another. */
const running = new Map<string, Promise<void>>();

async function editReferrersTag(session: Session, subject: Digest, edit: Edit): Promise<void> {
  const key = `${session.name}:${subject}`;
  const before = running.get(key) ?? Promise.resolve();
  const own = before.catch(() => {}).then(() => editAlone(session, subject, edit));
  running.set(key, own);
  try {
    await own;
  } finally {
    if (running.get(key) === own) running.delete(key);
  }
}

async function editAlone(session: Session, subject: Digest, { edit, isDone, signal }: Edit): Promise<void> {
  const tag = referrersTag(subject);
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const start = performance.now();
    const { manifests, index, digest } = await getReferrersTag(session, subject, signal);
    if (isDone(manifests)) return;
    const edited = edit(manifests);
    // By its digest: if somebody adds to it in this moment, the tag names another index already.
    if (edited.length === 0 && (await isDeleted(session, digest!, signal))) continue;
    if (edited.length > MAX_INDEX_ENTRIES) {
      throw new RafterError(
        'LIMIT_EXCEEDED',
        `${session.name}:${tag}: more than ${MAX_INDEX_ENTRIES} manifests refer to the image`,
      );
    }
    const raw = { ...index?.raw, schemaVersion: 2, mediaType: OCI_INDEX, manifests: edited };
    const bytes = Buffer.from(JSON.stringify(raw));
    const descriptor = { mediaType: OCI_INDEX, digest: ociDigest(bytes), size: bytes.length };
    await putManifest(session, tag, { bytes, descriptor }, signal);
    // Whoever read before this and writes after it undoes it: that takes about as long as it took here.
    const gap = performance.now() - start;
    await pause(gap * (1 + Math.random() * 2 ** round), session, signal);
  }
  const { manifests } = await getReferrersTag(session, subject, signal);
  if (isDone(manifests)) return;
  throw new RafterError('BUSY', `${session.name}:${tag}: others change the list of referrers all the time`, {
    hint: 'the image itself is stored; run the same command again',
  });
}

/** False where the registry does not let it be deleted. */
async function isDeleted(
  session: Session,
  digest: Digest,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  try {
    await deleteManifest(session, digest, signal);
    return true;
  } catch (error) {
    if (error instanceof RegistryError && !error.temporary) return false;
    throw error;
  }
}

async function pause(ms: number, { name }: Session, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, { signal });
  } catch {
    throw new RafterError('INTERRUPTED', `${name}: interrupted`);
  }
}
