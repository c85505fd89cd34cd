import { randomBytes } from 'node:crypto';
import { ociDigest } from '../codec/digest.js';
import type { Descriptor } from '../image/descriptor.js';
import { OCI_CONFIG, OCI_MANIFEST } from '../image/media-types.js';
import type { RegistryReference } from '../image/reference.js';
import { deleteManifest, putManifest, type StoredManifest } from './manifests.js';
import type { RegistryOptions } from './options.js';
import { profileByHost } from './profiles/index.js';
import type { Profile } from './profiles/profile.js';
import { openSession, type Session } from './session.js';
import { discardBody } from './transport.js';
import { putWhole, type UploadBlob } from './upload-ways.js';

/** Bytes of each blob that is tried. */
export const BLOB_SIZE = 96 << 10;
/** How long removing one thing may take at the end, in milliseconds. */
const CLEAN_UP_MS = 10_000;

/** What the checks know of the registry, and what they have written. */
export interface DoctorState {
  session: Session;
  repository: string;
  profile: Profile;
  signal: AbortSignal | undefined;
  tag: string;
  /** Set by the check that stored it. */
  blob?: Descriptor | undefined;
  bytes?: Buffer | undefined;
  image?: StoredManifest | undefined;
  referrer?: StoredManifest | undefined;
  blobs: string[];
}

/** A state before the first check. Opens no connection. */
export function startState(
  reference: RegistryReference,
  options: RegistryOptions & { signal?: AbortSignal | undefined },
): DoctorState {
  return {
    session: openSession(reference, options),
    repository: reference.repository,
    profile: profileByHost(reference.registry),
    signal: options.signal,
    tag: `rafter-doctor-${randomBytes(6).toString('hex')}`,
    blobs: [],
  };
}

/** A new blob of random bytes, remembered to be removed. */
export function sampleBlob(state: DoctorState): UploadBlob & { bytes: Buffer } {
  const bytes = randomBytes(BLOB_SIZE);
  const digest = ociDigest(bytes);
  state.blobs.push(digest);
  return {
    bytes,
    digest,
    size: bytes.length,
    body: (start, end = bytes.length) => ({ size: end - start, open: () => bytes.subarray(start, end) }),
  };
}

/** Stores an image of the sample blob under `tag`, or its digest alone, with a configuration of its own. */
export async function storeManifest(
  state: DoctorState,
  tag: string | undefined,
  more: { subject?: Descriptor },
): Promise<StoredManifest> {
  const { session, blob, signal } = state;
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: [blob!.digest] },
      config: { Labels: { 'rafter-doctor': `${state.tag}${more.subject === undefined ? '' : '-referrer'}` } },
    }),
  );
  const digest = ociDigest(config);
  state.blobs.push(digest);
  const upload = {
    digest,
    size: config.length,
    body: () => ({ size: config.length, open: () => config }),
  };
  await putWhole(session, upload, { signal });
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: { mediaType: OCI_CONFIG, digest, size: config.length },
    layers: [blob],
    ...more,
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const stored = {
    bytes,
    descriptor: { mediaType: OCI_MANIFEST, digest: ociDigest(bytes), size: bytes.length },
  };
  await putManifest(session, tag ?? stored.descriptor.digest, stored, signal);
  return stored;
}

/** Removes what the checks stored, as far as the registry lets it, and says what is left. Throws nothing. */
export async function cleanUp(state: DoctorState): Promise<string[]> {
  const { session } = state;
  const left: string[] = [];
  for (const manifest of [state.referrer, state.image]) {
    if (manifest === undefined) continue;
    const { digest } = manifest.descriptor;
    const isGone = await deleteManifest(session, digest, AbortSignal.timeout(CLEAN_UP_MS)).catch(
      () => undefined,
    );
    if (isGone === undefined) left.push(`manifest ${digest}`);
  }
  for (const digest of state.blobs) {
    if (!(await deleteBlob(session, digest))) left.push(`blob ${digest}`);
  }
  return left;
}

async function deleteBlob(session: Session, digest: string): Promise<boolean> {
  try {
    const response = await session.send({
      method: 'DELETE',
      path: `blobs/${digest}`,
      access: 'delete',
      expect: [200, 202, 204, 404],
      signal: AbortSignal.timeout(CLEAN_UP_MS),
    });
    await discardBody(response);
    return true;
  } catch {
    return false;
  }
}
