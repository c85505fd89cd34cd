import { Readable } from 'node:stream';
import { RafterError } from '../errors.js';
import type { Descriptor } from '../image/descriptor.js';
import { verifiedStream } from '../image/verified-stream.js';
import type { Access } from './endpoint-client.js';
import { networkError } from './error.js';
import { countFailures } from './retry.js';
import type { Session, SessionResponse } from './session.js';
import { discardBody } from './transport.js';

/** Most answers that one range may come in. */
const MAX_PIECES = 64;

type Blob = Pick<Descriptor, 'digest' | 'size'>;

/** Size in bytes of a blob that the repository has; undefined if it has not. */
export async function headBlob(
  session: Session,
  digest: string,
  options: { access: Access; signal?: AbortSignal | undefined },
): Promise<{ size: number | undefined } | undefined> {
  const { access, signal } = options;
  return session.retry(async () => {
    const response = await session.send({
      method: 'HEAD',
      path: `blobs/${digest}`,
      access,
      expect: [200, 404],
      signal,
    });
    await discardBody(response);
    if (response.status === 404) return undefined;
    const length = response.headers['content-length'];
    return { size: length === undefined ? undefined : Number(length) };
  }, signal);
}

/**
 * A whole blob, verified while it is read (see ImageSource.openBlob). A connection that breaks is resumed where it broke. The
 * first request is made before this returns, so a missing blob is NOT_FOUND here.
 */
export async function openBlob(session: Session, blob: Blob, signal?: AbortSignal): Promise<Readable> {
  const name = `${session.name}@${blob.digest}`;
  const first = await session.retry(() => requestFrom(session, blob, 0, signal), signal);
  const bytes = Readable.from(resumingBytes(session, blob, first, signal), {
    objectMode: false,
    highWaterMark: 1 << 20,
  });
  // A generator that was never begun does not run its finally.
  bytes.once('close', () => first.body.destroy());
  return verifiedStream(bytes, blob, name, signal);
}

/** Bytes [offset, offset + length) of a blob, exactly; TRUNCATED if it ends before. Not verified. */
export async function readBlobRange(
  session: Session,
  blob: Blob,
  range: { offset: number; length: number },
  signal?: AbortSignal,
): Promise<Buffer> {
  const { offset, length } = range;
  if (length === 0) return Buffer.alloc(0);
  const name = `${session.name}@${blob.digest}`;
  if (offset + length > blob.size) {
    throw new RafterError('TRUNCATED', `${name}: bytes to ${offset + length} of a blob of ${blob.size}`);
  }
  const target = Buffer.allocUnsafe(length);
  let done = 0;
  await session.retry(async () => {
    // A server may answer with less than was asked for: the rest is asked for again.
    for (let pieces = 0; done < length; pieces++) {
      if (pieces === MAX_PIECES) {
        throw new RafterError(
          'MALFORMED',
          `${name}: a range of ${length} bytes came in more than ${pieces} answers`,
        );
      }
      const before = done;
      const response = await requestFrom(session, blob, offset + done, signal, offset + length);
      try {
        for await (const piece of response.body as AsyncIterable<Buffer>) {
          done += piece.copy(target, done, 0, Math.min(piece.length, length - done));
          if (done === length) break;
        }
      } catch (error) {
        throw response.fault(networkError(error, name, response.url));
      } finally {
        response.body.destroy();
      }
      if (done === before) {
        throw response.fault(new RafterError('TRUNCATED', `${name}: nothing after byte ${offset + done}`));
      }
    }
  }, signal);
  return target;
}

async function* resumingBytes(
  session: Session,
  { digest, size }: Blob,
  first: SessionResponse,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  const name = `${session.name}@${digest}`;
  let response: SessionResponse | undefined = first;
  let done = 0;
  const { policy } = session;
  const failures = countFailures({ policy, signal, name, progress: () => done });
  for (;;) {
    try {
      response ??= await requestFrom(session, { digest, size }, done, signal);
      for await (const piece of response.body as AsyncIterable<Buffer>) {
        done += piece.length;
        yield piece;
      }
      return;
    } catch (error) {
      const failure =
        response === undefined ? error : response.fault(networkError(error, name, response.url));
      // All bytes are there; whether they are the right ones is judged by their digest.
      if (done >= size && response !== undefined) return;
      await failures.wait(failure);
    } finally {
      response?.body.destroy();
    }
    response = undefined;
  }
}

/**
 * The answer to a GET of the bytes from `start` to before `end` (default: the blob's end), with a body that really begins at
 * `start`, whether the server knows ranges or not.
 */
async function requestFrom(
  session: Session,
  { digest, size }: Blob,
  start: number,
  signal: AbortSignal | undefined,
  end = size,
): Promise<SessionResponse> {
  const isRange = start > 0 || end < size;
  const response = await session.send({
    method: 'GET',
    path: `blobs/${digest}`,
    headers: isRange ? { range: `bytes=${start}-${end - 1}` } : {},
    access: 'pull',
    expect: isRange ? [200, 206] : [200],
    signal,
  });
  if (response.status === 206) {
    await checkContentRange(response, { start, end }, `${session.name}@${digest}`);
    return response;
  }
  if (start === 0) return response;
  return { ...response, body: Readable.from(withoutFirst(response, start), { objectMode: false }) };
}

/** Bytes that belong elsewhere would be taken for those asked for: only an exact Content-Range will do. */
async function checkContentRange(
  response: SessionResponse,
  { start, end }: { start: number; end: number },
  name: string,
): Promise<void> {
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
