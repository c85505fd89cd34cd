import type { Readable } from 'node:stream';
import { isRafterError, RafterError } from '../errors.js';
import type { Descriptor } from '../image/descriptor.js';
import { Relay } from '../image/relay.js';
import type { OpenBlobOptions, ReadUrgency } from '../image/source.js';
import { verifiedStream } from '../image/verified-stream.js';
import { giveBack } from '../os/piece-memory.js';
import { takeMemory } from '../os/spare-memory.js';
import { forgetRedirect, requestBlob } from './blob-request.js';
import type { Access } from './endpoint-client.js';
import { networkError } from './error.js';
import { countFailures } from './retry.js';
import type { Session, SessionResponse } from './session.js';
import { discardBody } from './transport.js';

/** Most answers that one range may come in. */
const MAX_PIECES = 64;

type Blob = Pick<Descriptor, 'digest' | 'size'>;

/** What is to happen when the bytes of a range, or of a stream, turn out wrong; true if others are asked next. */
const onDistrust = new WeakMap<Buffer | Readable, () => boolean>();

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
      expect: [200, 403, 404, 405],
      signal,
    });
    await discardBody(response);
    if (response.status === 404) return undefined;
    // If the registry itself refuses, it does so again, and its answer then has a text.
    if (response.status !== 200) return probeBlob(session, digest, { access, signal });
    const length = response.headers['content-length'];
    return { size: length === undefined ? undefined : Number(length) };
  }, signal);
}

/** As `headBlob`, by GET: an object storage refuses HEAD with a URL that is signed for GET. */
async function probeBlob(
  session: Session,
  digest: string,
  { access, signal }: { access: Access; signal?: AbortSignal | undefined },
): Promise<{ size: number | undefined } | undefined> {
  const response = await session.send({
    method: 'GET',
    path: `blobs/${digest}`,
    headers: { range: 'bytes=0-0' },
    access,
    expect: [200, 206, 404, 416],
    signal,
  });
  response.body.destroy();
  if (response.status === 404) return undefined;
  const { headers, status } = response;
  const total =
    status === 200 ? headers['content-length'] : /\/(\d+)$/.exec(headers['content-range'] ?? '')?.[1];
  return { size: total === undefined ? undefined : Number(total) };
}

/**
 * A whole blob, verified while it is read (see ImageSource.openBlob). A connection that breaks is resumed where it broke. The
 * first request is made before this returns, so a missing blob is NOT_FOUND here.
 */
export async function openBlob(
  session: Session,
  blob: Blob,
  options: OpenBlobOptions = {},
): Promise<Readable> {
  const { signal, urgency = 'startup' } = options;
  const name = `${session.name}@${blob.digest}`;
  const first = await session.retry(() => requestBlob(session, blob, { start: 0, signal, urgency }), signal);
  let latest = first;
  const onAnswer = (response: SessionResponse) => {
    latest = response;
  };
  const bytes = new Relay((relay) =>
    passOnResuming(relay, session, blob, { first, onAnswer, signal, urgency }),
  );
  // A relay that nobody reads does not know it.
  bytes.once('close', () => first.body.destroy());
  // What has been passed on cannot be taken back; whoever asks again is to get it from another server.
  const blame = (error: unknown) => {
    forgetRedirect(session, blob.digest);
    return latest.fault(error);
  };
  const verified = verifiedStream(bytes, blob, name, { ...options, blame });
  onDistrust.set(verified, () => asksAnother(blame, wrongBytes(name)));
  return verified;
}

/** Bytes [offset, offset + length) of a blob, exactly; TRUNCATED if it ends before. Not verified. From `takeMemory`. */
export async function readBlobRange(
  session: Session,
  blob: Blob,
  range: {
    offset: number;
    length: number;
    urgency?: ReadUrgency | undefined;
    /** Never through peers. Default false. */
    isDirect?: boolean;
  },
  signal?: AbortSignal,
): Promise<Buffer> {
  const { offset, length, urgency, isDirect } = range;
  if (length === 0) return Buffer.alloc(0);
  const name = `${session.name}@${blob.digest}`;
  if (offset + length > blob.size) {
    throw new RafterError('TRUNCATED', `${name}: bytes to ${offset + length} of a blob of ${blob.size}`);
  }
  const target = takeMemory(length);
  const faults: SessionResponse['fault'][] = [];
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
      const response = await requestBlob(session, blob, {
        start: offset + done,
        end: offset + length,
        signal,
        urgency,
        isDirect,
      });
      faults.push(response.fault);
      try {
        for await (const piece of response.body as AsyncIterable<Buffer>) {
          response.arrived(piece.length);
          done += piece.copy(target, done, 0, Math.min(piece.length, length - done));
          giveBack(piece);
          if (done === length) break;
        }
      } catch (error) {
        forgetRedirect(session, blob.digest);
        throw response.fault(networkError(error, name, response.url));
      } finally {
        response.body.destroy();
      }
      if (done === before) {
        throw response.fault(new RafterError('TRUNCATED', `${name}: nothing after byte ${offset + done}`));
      }
    }
  }, signal);
  onDistrust.set(target, () => {
    forgetRedirect(session, blob.digest);
    return faults.filter((fault) => asksAnother(fault, wrongBytes(name))).length > 0;
  });
  return target;
}

function wrongBytes(name: string): RafterError {
  return new RafterError('DIGEST_MISMATCH', `${name}: wrong bytes`);
}

/** Blames whoever gave the answer. True if the next attempt asks somebody else. */
function asksAnother(fault: SessionResponse['fault'], error: RafterError): boolean {
  const judged = fault(error);
  return isRafterError(judged) && judged.temporary;
}

/** See ImageSource.distrust. */
export function distrustBytes(bytes: Buffer | Readable): boolean {
  return onDistrust.get(bytes)?.() ?? false;
}

async function passOnResuming(
  relay: Relay,
  session: Session,
  { digest, size }: Blob,
  {
    first,
    onAnswer,
    signal,
    urgency,
  }: {
    first: SessionResponse;
    onAnswer: (response: SessionResponse) => void;
    signal: AbortSignal | undefined;
    urgency: ReadUrgency;
  },
): Promise<void> {
  const name = `${session.name}@${digest}`;
  let response: SessionResponse | undefined = first;
  let done = 0;
  const { policy } = session;
  const failures = countFailures({ policy, signal, name, progress: () => done });
  for (;;) {
    try {
      response ??= await requestBlob(session, { digest, size }, { start: done, signal, urgency });
      onAnswer(response);
      const { arrived, body } = response;
      await relay.passOn(body, (piece) => {
        arrived(piece.length);
        done += piece.length;
      });
      return;
    } catch (error) {
      // Nobody reads any more.
      if (relay.destroyed) throw error;
      const failure =
        response === undefined ? error : response.fault(networkError(error, name, response.url));
      forgetRedirect(session, digest);
      // All bytes are there; whether they are the right ones is judged by their digest.
      if (done >= size && response !== undefined) return;
      await failures.wait(failure);
    } finally {
      response?.body.destroy();
    }
    response = undefined;
  }
}
