import { RafterError } from '../errors.js';
import type { Descriptor, Digest } from '../image/descriptor.js';
import { headBlob } from './blobs.js';
import type { Session } from './session.js';
import { discardBody, type HttpResponse, type RequestBody } from './transport.js';

/** A blob to send. `open` is called once per attempt and must give `size` bytes from the beginning each time. */
export interface UploadBlob extends RequestBody {
  digest: Digest;
  size: number;
}

/**
 * Sends a blob: POST for a session, then one PUT with everything, which is what every registry takes. Temporary failures begin a
 * new session. DIGEST_MISMATCH if the registry stored something else.
 */
export async function uploadBlob(session: Session, blob: UploadBlob, signal?: AbortSignal): Promise<void> {
  await session.retry(async () => {
    const started = await session.send({
      method: 'POST',
      path: 'blobs/uploads/',
      headers: { 'content-length': '0' },
      access: 'push',
      expect: [202],
      signal,
    });
    await discardBody(started);
    const finished = await session.send({
      method: 'PUT',
      url: uploadUrl(started, blob.digest, session.name),
      headers: { 'content-type': 'application/octet-stream' },
      body: blob,
      access: 'push',
      expect: [201, 204],
      signal,
    });
    await discardBody(finished);
    await checkStored(session, finished, blob, signal);
  }, signal);
}

/** Where the PUT goes: Location, absolute or relative, its own query kept as it is, and the digest. */
function uploadUrl({ headers, url }: HttpResponse, digest: Digest, name: string): URL {
  const { location } = headers;
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
  // Text, not searchParams: those would write the registry's own parameters anew.
  target.search = `${target.search === '' ? '?' : `${target.search}&`}digest=${encodeURIComponent(digest)}`;
  return target;
}

async function checkStored(
  session: Session,
  { headers }: HttpResponse,
  { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const said = headers['docker-content-digest'];
  if (said === digest) return;
  if (said !== undefined) {
    throw new RafterError(
      'DIGEST_MISMATCH',
      `${session.name}: the registry stored ${said} instead of ${digest}`,
    );
  }
  const stored = await headBlob(session, digest, { access: 'push', signal });
  if (stored === undefined || (stored.size !== undefined && stored.size !== size)) {
    throw new RafterError('UNAVAILABLE', `${session.name}: the registry took ${digest} but does not have it`);
  }
}
