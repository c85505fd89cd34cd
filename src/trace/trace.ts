import * as v from 'valibot';
import { RafterError } from '../errors.js';
import type { Digest } from '../image/descriptor.js';
import { isDigest } from '../image/digest.js';
import { checkShape, parseJson } from '../image/json.js';
import { MAX_DECODED_SIZE } from '../rafs/limits.js';
import { checkDisjoint } from './disjoint.js';

/** Why a reader had to wait: `local` did not; `fetch` asked the registry for it; `startup` waited for the start-up stream. */
export type TouchSource = 'local' | 'fetch' | 'startup';

/** A piece of a blob that was read for the first time. Pieces of one trace do not overlap. */
export interface Touch {
  /** Position in the blob table, and so in `Trace.blobs`. */
  blob: number;
  /** First byte in the blob's decoded address space; a multiple of `TRACE_PAGE_SIZE`. */
  offset: number;
  /** Decoded bytes that nothing had touched before: whole pages, or up to the end of the blob. */
  length: number;
  /** Milliseconds from the mount being asked for to the request, with fractions. */
  atMs: number;
  /** Milliseconds until the request was answered; 0 for what was local. */
  waitedMs: number;
  /** What it waited for. */
  from: TouchSource;
}

/** What was read of an image while it was mounted, each page once. */
export interface Trace {
  /** Canonical text of the image reference that was mounted. */
  reference: string;
  /** Digest of its manifest. */
  manifest: Digest;
  /** Blob ids in the order of the bootstrap's blob table. */
  blobs: string[];
  driver: 'erofs' | 'fuse';
  /** How the driver `fuse` spoke to the kernel. */
  transport?: 'device' | 'libfuse';
  /** Read-ahead that the kernel was held to, in KiB; missing where it was not set: then what it read ahead is among the touches. */
  readAheadKiB?: number;
  /** What ran, if one command was traced. */
  command?: string[];
  /** When the mount was asked for: ISO 8601, UTC. */
  startedAt: string;
  /** Requests that were left out because `MAX_TOUCHES` were there already. */
  lost?: number;
  /** In order of first use: the order counts, also where times are equal or, after merging, not ascending. */
  touches: Touch[];
}

/** What a touch is rounded to, in bytes: a page of the kernel, and a block of EROFS. */
export const TRACE_PAGE_SIZE = 4096;
/** Most touches of a trace: 512 MiB in pages that lie apart. */
export const MAX_TOUCHES = 1 << 17;
/** Most bytes of a trace that is read. */
export const MAX_TRACE_SIZE = 32 << 20;

/** Bytes that were touched. */
export function touchedBytes({ touches }: Pick<Trace, 'touches'>): number {
  return touches.reduce((sum, { length }) => sum + length, 0);
}

/** The version of the format that this program writes and reads. */
const VERSION = 1;
/** Most bytes of a touch's line, and of the last one. */
const MAX_LINE = 256;
/** Most bytes of the first line. */
const MAX_HEADER = 1 << 20;
/** Most blobs of a trace: RAFS v5 has no limit below. */
const MAX_TRACED_BLOBS = 512;
const MAX_REFERENCE = 8192;
const MAX_BLOB_ID = 64;
const MAX_ARGUMENTS = 4096;
/** Longest time in milliseconds: a year. */
const MAX_MS = 366 * 86_400_000;
/** Times are written to the microsecond. */
const MS_DIGITS = 1000;

const text = (limit: number) => v.pipe(v.string(), v.minLength(1), v.maxLength(limit));
const count = (limit: number) => v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(limit));
const ms = v.pipe(v.number(), v.minValue(0), v.maxValue(MAX_MS));

const headerSchema = v.strictObject({
  rafterTrace: v.literal(VERSION),
  reference: text(MAX_REFERENCE),
  manifest: v.custom<Digest>((value) => typeof value === 'string' && isDigest(value), 'is not a digest'),
  blobs: v.pipe(v.array(text(MAX_BLOB_ID)), v.minLength(1), v.maxLength(MAX_TRACED_BLOBS)),
  driver: v.picklist(['erofs', 'fuse']),
  transport: v.exactOptional(v.picklist(['device', 'libfuse'])),
  readAheadKiB: v.exactOptional(count(1 << 20)),
  command: v.exactOptional(v.pipe(v.array(v.string()), v.maxLength(MAX_ARGUMENTS))),
  startedAt: v.pipe(v.string(), v.isoTimestamp()),
  lost: v.exactOptional(count(Number.MAX_SAFE_INTEGER)),
});

/** [blob, offset, length, atMs, waitedMs, from] */
const touchSchema = v.strictTuple([
  count(MAX_TRACED_BLOBS - 1),
  v.pipe(count(MAX_DECODED_SIZE), v.multipleOf(TRACE_PAGE_SIZE)),
  v.pipe(count(MAX_DECODED_SIZE), v.minValue(1)),
  ms,
  ms,
  v.picklist(['local', 'fetch', 'startup']),
]);

const endSchema = v.strictObject({ touches: count(MAX_TOUCHES) });

/**
 * `trace` as a file: JSON lines. The first is the header, `{"rafterTrace":1,...}` with the members of `Trace`; then a line
 * `[blob,offset,length,atMs,waitedMs,from]` for each touch, in order of first use; the last, `{"touches":N}`, says how many, so
 * that a file that was cut is noticed. Throws LIMIT_EXCEEDED above `MAX_TOUCHES`.
 */
export function formatTrace({ touches, ...header }: Trace): Buffer {
  checkTouches(touches.length, 'a trace');
  const lines = [
    JSON.stringify({ rafterTrace: VERSION, ...header }),
    ...touches.map(formatTouch),
    JSON.stringify({ touches: touches.length }),
  ];
  return Buffer.from(`${lines.join('\n')}\n`);
}

/** The line of one touch, without its end. */
export function formatTouch({ blob, offset, length, atMs, waitedMs, from }: Touch): string {
  return JSON.stringify([blob, offset, length, rounded(atMs), rounded(waitedMs), from]);
}

/**
 * Reads what `formatTrace` wrote; `name` says in messages what was read. Throws MALFORMED naming the line, TRUNCATED for a
 * file that ends too early, LIMIT_EXCEEDED above `MAX_TRACE_SIZE` bytes or `MAX_TOUCHES`, UNSUPPORTED for another version.
 */
export function parseTrace(bytes: Buffer, name: string): Trace {
  if (bytes.length > MAX_TRACE_SIZE)
    throw new RafterError(
      'LIMIT_EXCEEDED',
      `${name}: ${bytes.length} bytes, more than the limit of ${MAX_TRACE_SIZE} for a trace`,
    );
  const lines = linesOf(bytes);
  const first = lines.next();
  if (first.done)
    throw new RafterError('MALFORMED', `${name}: not a trace: it is empty`, {
      hint: 'a run or mount that was killed has written none: trace it again',
    });
  const { rafterTrace: _version, ...header } = parseHeader(first.value, `${name}, line 1`);
  const touches: Touch[] = [];
  for (const line of lines) {
    const where = `${name}, line ${touches.length + 2}`;
    const value = parseJson(line, MAX_LINE, where);
    if (Array.isArray(value)) {
      checkTouches(touches.length + 1, where);
      touches.push(toTouch(value, header.blobs.length, where));
      continue;
    }
    const { touches: expected } = checkShape(endSchema, value, where);
    if (expected !== touches.length)
      throw new RafterError(
        'MALFORMED',
        `${where}: says ${expected} touches, and ${touches.length} are there`,
      );
    if (!lines.next().done) throw new RafterError('MALFORMED', `${where}: another line behind the last one`);
    checkDisjoint(touches, (index) => `${name}, line ${index + 2}`);
    return { ...header, touches };
  }
  throw new RafterError('TRUNCATED', `${name}: the trace ends after line ${touches.length + 1}`, {
    hint: 'it was cut: its last line would say how many touches there are',
  });
}

function parseHeader(line: Buffer, where: string) {
  const value = parseJson(line, MAX_HEADER, where);
  const version = (value as { rafterTrace?: unknown } | null)?.rafterTrace;
  if (typeof version !== 'number') throw new RafterError('MALFORMED', `${where}: not the header of a trace`);
  if (version !== VERSION)
    throw new RafterError(
      'UNSUPPORTED',
      `${where}: a trace of version ${version}, this program reads ${VERSION}`,
    );
  return checkShape(headerSchema, value, where);
}

/** One line of a trace, parsed as JSON, as a touch of an image of `blobCount` blobs. */
function toTouch(value: unknown, blobCount: number, where: string): Touch {
  const [blob, offset, length, atMs, waitedMs, from] = checkShape(touchSchema, value, where);
  if (blob >= blobCount)
    throw new RafterError('MALFORMED', `${where}: blob ${blob}, but the header names ${blobCount} only`);
  return { blob, offset, length, atMs, waitedMs, from };
}

function checkTouches(count: number, name: string): void {
  if (count > MAX_TOUCHES)
    throw new RafterError('LIMIT_EXCEEDED', `${name}: more than ${MAX_TOUCHES} touches`);
}

const NEWLINE = 0x0a;

/** The lines of `bytes`, without their ends; what is behind the last end is a line too, if it is not empty. */
function* linesOf(bytes: Buffer): Generator<Buffer> {
  for (let start = 0; start < bytes.length; ) {
    const found = bytes.indexOf(NEWLINE, start);
    const end = found < 0 ? bytes.length : found;
    yield bytes.subarray(start, end);
    start = end + 1;
  }
}

function rounded(milliseconds: number): number {
  return Math.round(milliseconds * MS_DIGITS) / MS_DIGITS;
}
