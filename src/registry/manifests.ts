import { ociDigest } from '../codec/digest.js';
import { isRafterError, messageOf, RafterError } from '../errors.js';
import { type Descriptor, type Digest, verifyDigest } from '../image/descriptor.js';
import { isDigest } from '../image/digest.js';
import { MAX_MANIFEST_SIZE, parseManifest } from '../image/manifest.js';
import {
  DOCKER_INDEX,
  DOCKER_MANIFEST,
  isIndexType,
  isManifestType,
  OCI_INDEX,
  OCI_MANIFEST,
} from '../image/media-types.js';
import type { Access } from './endpoint-client.js';
import { RegistryError } from './error.js';
import type { Session, SessionResponse } from './session.js';
import { discardBody, type HttpResponse, readBody } from './transport.js';

const ACCEPT = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX].join(', ');

/** A manifest or index as the registry holds it. */
export interface StoredManifest {
  descriptor: Descriptor;
  bytes: Buffer;
}

/**
 * Fetches a manifest or index by tag or digest. Its digest is computed from its bytes; DIGEST_MISMATCH if the one asked for, or
 * the one that the registry names, is another. LIMIT_EXCEEDED above MAX_MANIFEST_SIZE.
 */
export async function getManifest(
  session: Session,
  reference: string,
  signal?: AbortSignal,
): Promise<StoredManifest> {
  return session.retry(async () => {
    const response = await session.send({
      method: 'GET',
      path: `manifests/${reference}`,
      headers: { accept: ACCEPT },
      access: 'pull',
      expect: [200],
      signal,
    });
    const { request: what } = response;
    try {
      const bytes = await readBody(response, MAX_MANIFEST_SIZE, what);
      const expected = isDigest(reference) ? reference : saidDigest(response);
      if (expected !== undefined) verifyDigest(bytes, expected, what);
      const digest = isDigest(reference) ? reference : ociDigest(bytes);
      const { mediaType } = parseManifest(bytes, what, manifestTypeOf(response));
      return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
    } catch (error) {
      throw response.fault(error);
    }
  }, signal);
}

/**
 * The descriptor of a manifest without fetching it; undefined if there is none. A registry that does not answer HEAD as it should
 * is asked by GET.
 */
export async function headManifest(
  session: Session,
  reference: string,
  options: { access: Access; signal?: AbortSignal | undefined },
): Promise<Descriptor | undefined> {
  const { access, signal } = options;
  const response = await session.retry(async () => {
    const answer = await session.send({
      method: 'HEAD',
      path: `manifests/${reference}`,
      headers: { accept: ACCEPT },
      access,
      expect: [200, 404, 405],
      signal,
    });
    await discardBody(answer);
    return answer;
  }, signal);
  if (response.status === 404) return undefined;
  const mediaType = manifestTypeOf(response);
  const digest = saidDigest(response);
  const size = Number(response.headers['content-length'] ?? Number.NaN);
  if (
    response.status === 200 &&
    mediaType !== undefined &&
    digest !== undefined &&
    Number.isSafeInteger(size)
  ) {
    return { mediaType, digest, size };
  }
  try {
    return (await getManifest(session, reference, signal)).descriptor;
  } catch (error) {
    if (isRafterError(error, 'NOT_FOUND')) return undefined;
    throw error;
  }
}

/** What the registry did with a manifest. */
export interface PutAnswer {
  /** It lists the manifest as a referrer of its subject (OCI-Subject). */
  listsSubject: boolean;
}

/** How often a manifest is sent again because the registry does not know of blobs that it was just sent. */
const MAX_UNKNOWN_BLOBS = 3;

/** Stores a manifest under a tag or its digest. DIGEST_MISMATCH if the registry understood other bytes. */
export async function putManifest(
  session: Session,
  reference: string,
  manifest: StoredManifest,
  signal?: AbortSignal,
): Promise<PutAnswer> {
  const { bytes, descriptor } = manifest;
  let unknown = 0;
  return session.retry(async () => {
    let response: SessionResponse;
    try {
      response = await session.send({
        method: 'PUT',
        path: `manifests/${reference}`,
        headers: { 'content-type': descriptor.mediaType },
        body: { size: bytes.length, open: () => bytes },
        access: 'push',
        expect: [200, 201, 202],
        signal,
      });
    } catch (error) {
      // Storage behind a registry may take a moment to show what it took.
      if (!isUnknownBlob(error) || ++unknown === MAX_UNKNOWN_BLOBS) throw error;
      throw new RafterError('UNAVAILABLE', messageOf(error), { cause: error });
    }
    await discardBody(response);
    const said = saidDigest(response);
    if (said !== undefined)
      verifyDigest(bytes, said, `${session.name}: the registry stored another manifest`);
    return { listsSubject: response.headers['oci-subject'] !== undefined };
  }, signal);
}

/**
 * Removes a manifest by its digest, with all tags that name it, or one tag. False if there is none. UNSUPPORTED where the registry does
 * not offer that.
 */
export async function deleteManifest(
  session: Session,
  reference: string,
  signal?: AbortSignal,
): Promise<boolean> {
  return session.retry(async () => {
    const response = await session.send({
      method: 'DELETE',
      path: `manifests/${reference}`,
      access: 'delete',
      expect: [200, 202, 204, 404],
      signal,
    });
    await discardBody(response);
    return response.status !== 404;
  }, signal);
}

function isUnknownBlob(error: unknown): boolean {
  return (
    error instanceof RegistryError &&
    error.errors.some(({ code }) => code === 'MANIFEST_BLOB_UNKNOWN' || code === 'BLOB_UNKNOWN')
  );
}

function saidDigest({ headers }: HttpResponse): Digest | undefined {
  const said = headers['docker-content-digest'];
  return typeof said === 'string' && isDigest(said) ? said : undefined;
}

/** The Content-Type, if it is one of a manifest: some registries say application/json for everything. */
function manifestTypeOf({ headers }: HttpResponse): string | undefined {
  const type = String(headers['content-type'] ?? '')
    .split(';')[0]!
    .trim();
  return isManifestType(type) || isIndexType(type) ? type : undefined;
}
