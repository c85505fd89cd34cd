import type { IncomingHttpHeaders } from 'node:http';
import { RafterError } from '../errors.js';
import type { Digest } from '../image/descriptor.js';
import { isInside, isOnlyHere } from './hosts/origin.js';
import type { Session } from './session.js';
import { discardBody, type HttpResponse, type RequestBody } from './transport.js';

/** Most milliseconds that a cancelled upload may hold up the end of the program. */
const CANCEL_MS = 2_000;

const OCTETS = { 'content-type': 'application/octet-stream' };

/** An upload that a registry has begun (OCI distribution spec, pushing blobs). Each answer brings the next place. */
export interface UploadPlace {
  /** Where the next request of the upload goes. */
  url: URL;
  /** Bytes from the beginning that the registry says it has; undefined if it does not say. */
  received: number | undefined;
  /** Fewest bytes of every piece but the last (OCI-Chunk-Min-Length). */
  minPiece: number;
  /** The headers of the answer, which tell what kind of registry it is. */
  headers: IncomingHttpHeaders;
}

/** A repository of the same registry that is known to have a blob, or none in particular. */
export interface MountRequest {
  digest: Digest;
  from?: string | undefined;
}

/**
 * POST: begins an upload; with `mount` asks to take the blob over from elsewhere in the registry, which needs no upload if it
 * does: then undefined is returned.
 */
export async function beginUpload(
  session: Session,
  { mount, signal }: { mount?: MountRequest | undefined; signal?: AbortSignal | undefined },
): Promise<UploadPlace | undefined> {
  const response = await session.send({
    method: 'POST',
    path: `blobs/uploads/${mount === undefined ? '' : `?${mountQuery(mount)}`}`,
    headers: { 'content-length': '0' },
    access: 'push',
    ...(mount?.from === undefined ? {} : { reads: [mount.from] }),
    expect: mount === undefined ? [202] : [201, 202],
    signal,
  });
  await discardBody(response);
  return response.status === 201 ? undefined : readPlace(response, session.name);
}

/** PATCH: sends the bytes from `start` on. The answer says what the registry has. */
export async function sendPiece(
  session: Session,
  { place, start, body }: { place: UploadPlace; start: number; body: RequestBody },
  signal?: AbortSignal,
): Promise<UploadPlace> {
  const { size } = body;
  const range: Record<string, string> =
    size === undefined ? {} : { 'content-range': `${start}-${start + size - 1}` };
  const response = await session.send({
    method: 'PATCH',
    url: place.url,
    headers: { ...OCTETS, ...range },
    body,
    access: 'push',
    // 202 by the specification; ECR says 201, and old servers 204.
    expect: [201, 202, 204],
    signal,
  });
  await discardBody(response);
  const next = readPlace(response, session.name, place);
  return { ...next, minPiece: place.minPiece };
}

/** GET: how far an upload is after its connection broke; undefined if the registry does not know the upload any more. */
export async function uploadStatus(
  session: Session,
  place: UploadPlace,
  signal?: AbortSignal,
): Promise<UploadPlace | undefined> {
  const response = await session.send({
    method: 'GET',
    url: place.url,
    access: 'push',
    expect: [200, 202, 204, 400, 404, 405, 416],
    signal,
  });
  await discardBody(response);
  if (response.status >= 400) return undefined;
  return { ...readPlace(response, session.name, place), minPiece: place.minPiece };
}

/** PUT: ends an upload with `body`, all or the rest of the blob, which is stored under `digest`. Returns the digest that the registry names. */
export async function endUpload(
  session: Session,
  { place, digest, body }: { place: UploadPlace; digest: Digest; body?: RequestBody | undefined },
  signal?: AbortSignal,
): Promise<string | undefined> {
  const response = await session.send({
    method: 'PUT',
    url: withDigest(place.url, digest),
    headers: body === undefined ? { 'content-length': '0' } : OCTETS,
    ...(body === undefined ? {} : { body }),
    access: 'push',
    expect: [200, 201, 204],
    signal,
  });
  await discardBody(response);
  const said = response.headers['docker-content-digest'];
  return typeof said === 'string' ? said : undefined;
}

/** DELETE: lets the registry forget an upload. Best effort: nothing is thrown. */
export async function cancelUpload(session: Session, place: UploadPlace): Promise<void> {
  try {
    const response = await session.send({
      method: 'DELETE',
      url: place.url,
      access: 'delete',
      expect: [200, 202, 204, 404],
      signal: AbortSignal.timeout(CANCEL_MS),
    });
    await discardBody(response);
  } catch {
    // Registries forget uploads by themselves, if later.
  }
}

function mountQuery({ digest, from }: MountRequest): string {
  return `mount=${encodeURIComponent(digest)}${from === undefined ? '' : `&from=${encodeURIComponent(from)}`}`;
}

/** Location (absolute or relative, its query kept as it is), Range and OCI-Chunk-Min-Length. */
function readPlace({ headers, url }: HttpResponse, name: string, before?: UploadPlace): UploadPlace {
  const { location } = headers;
  if (location === undefined && before !== undefined) {
    return { ...before, received: readReceived(headers.range) };
  }
  if (location === undefined || !URL.canParse(location, url.href)) {
    throw new RafterError('MALFORMED', `${name}: the registry began an upload without a valid Location`);
  }
  const target = new URL(location, url);
  const isDowngrade = url.protocol === 'https:' && target.protocol !== 'https:';
  if (isDowngrade || !/^https?:$/.test(target.protocol)) {
    throw new RafterError(
      'DENIED',
      `${name}: the registry wants the upload at ${target.origin}, which is not https`,
      {
        hint: 'the registry does not know that it is reached by TLS; its administrator has to tell it',
      },
    );
  }
  if (isOnlyHere(target.hostname) && !isInside(url)) {
    throw new RafterError(
      'DENIED',
      `${name}: the registry wants the upload at ${target.origin}, which is this machine; nothing was sent there`,
    );
  }
  // A URL with a user name in it would send it as credentials.
  target.username = '';
  target.password = '';
  return {
    url: target,
    received: readReceived(headers.range),
    minPiece: Number(headers['oci-chunk-min-length'] ?? 0) || 0,
    headers,
  };
}

/** Bytes that `0-LAST` says; registries say `0-0` also for none, which is what it is taken for. */
function readReceived(range: string | undefined): number | undefined {
  const [, last] = /^(?:bytes[= ])?0-(\d{1,16})$/.exec(range?.trim() ?? '') ?? [];
  if (last === undefined) return undefined;
  return last === '0' ? 0 : Number(last) + 1;
}

function withDigest(place: URL, digest: Digest): URL {
  const url = new URL(place);
  // Text, not searchParams: those would write the registry's own parameters anew.
  url.search = `${url.search === '' ? '?' : `${url.search}&`}digest=${encodeURIComponent(digest)}`;
  return url;
}
