import { Readable } from 'node:stream';
import { isRafterError, RafterError } from '../errors.js';
import type { Descriptor, Digest } from '../image/descriptor.js';
import type { ReadUrgency } from '../image/source.js';
import { createRedirects, type Redirects } from './redirects.js';
import type { Session, SessionResponse } from './session.js';
import { describeRequest } from './transport.js';

/** Where each session was sent for its blobs. */
const redirectsOf = new WeakMap<Session, Redirects>();

export interface BlobRange {
  start: number;
  /** Default: the end of the blob. */
  end?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Default: somebody waits for it. */
  urgency?: ReadUrgency | undefined;
  /** Never through peers. Default false. */
  isDirect?: boolean | undefined;
}

/**
 * The answer to a GET of the bytes from `start` to before `end`, with a body that really begins at `start`, whether the server knows
 * ranges or not. If the registry redirects, further requests go where it did, until that fails: then it is asked anew. What may be read
 * through peers is asked of them each time.
 */
export async function requestBlob(
  session: Session,
  { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
  { start, end = size, signal, urgency, isDirect = false }: BlobRange,
): Promise<SessionResponse> {
  const isPastPeers = isDirect || !session.hasPeersFor(size);
  const isRange = start > 0 || end < size;
  const headers: Record<string, string> = isRange ? { range: `bytes=${start}-${end - 1}` } : {};
  const request = {
    method: 'GET' as const,
    headers,
    access: 'pull' as const,
    expect: isRange ? [200, 206] : [200],
    signal,
    urgency,
    isDirect: isPastPeers,
  };
  const accept = (response: SessionResponse) =>
    fromStart(response, { start, end }, `${session.name}@${digest}`);
  const redirects = redirectsOf.get(session) ?? createRedirects();
  redirectsOf.set(session, redirects);
  const known = isPastPeers ? redirects.get(digest) : undefined;
  if (known !== undefined) {
    try {
      return accept(await session.send({ ...request, url: known }));
    } catch (error) {
      if (isRafterError(error, 'INTERRUPTED')) throw error;
      // Its signature may have ended, or the storage may be another one now.
      redirects.forget(digest);
    }
  }
  const response = await session.send({ ...request, path: `blobs/${digest}` });
  if (response.request !== describeRequest('GET', response.url)) redirects.remember(digest, response.url);
  return accept(response);
}

/** To be called when a body broke: the next request asks the registry where to go. */
export function forgetRedirect(session: Session, digest: Digest): void {
  redirectsOf.get(session)?.forget(digest);
}

function fromStart(
  response: SessionResponse,
  { start, end }: { start: number; end: number },
  name: string,
): SessionResponse {
  if (response.status === 206) {
    checkContentRange(response, { start, end }, name);
    return response;
  }
  if (start === 0) return response;
  return { ...response, body: Readable.from(withoutFirst(response, start), { objectMode: false }) };
}

/** Bytes that belong elsewhere would be taken for those asked for: only an exact Content-Range will do. */
function checkContentRange(
  response: SessionResponse,
  { start, end }: { start: number; end: number },
  name: string,
): void {
  const header = String(response.headers['content-range'] ?? '');
  const [, first, last] = /^bytes (\d+)-(\d+)\/(?:\d+|\*)$/i.exec(header.trim()) ?? [];
  if (Number(first) === start && Number(last) >= start && Number(last) < end) return;
  response.body.destroy();
  throw response.fault(
    new RafterError(
      'MALFORMED',
      `${name}: asked for bytes ${start}-${end - 1}, the answer's Content-Range is ${JSON.stringify(header.slice(0, 100))}`,
    ),
  );
}

/** The body of a server that ignored the range, without the bytes before it. */
async function* withoutFirst({ body }: SessionResponse, count: number): AsyncGenerator<Buffer> {
  let skip = count;
  try {
    for await (const piece of body as AsyncIterable<Buffer>) {
      if (skip >= piece.length) {
        skip -= piece.length;
        continue;
      }
      yield piece.subarray(skip);
      skip = 0;
    }
  } finally {
    body.destroy();
  }
}
