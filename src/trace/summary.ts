import { RafterError } from '../errors.js';
import type { Bootstrap, ChunkMap } from '../rafs/bootstrap.js';
import { chunkUse } from './chunk-use.js';
import { FileRanges, type TracedFile } from './file-ranges.js';
import { type Touch, type TouchSource, TRACE_PAGE_SIZE, type Trace, touchedBytes } from './trace.js';

/** The image that was traced. */
export interface TracedImage {
  bootstrap: Bootstrap;
  /** Chunk map of each blob, in blob table order. */
  maps: readonly ChunkMap[];
  /** What of each blob was in the start-up pack that the run had: decoded ranges that ascend. Undefined if it had none. */
  pack?: readonly (readonly DecodedRange[])[] | undefined;
}

/** Decoded bytes of a blob. */
interface DecodedRange {
  start: number;
  end: number;
}

/** What of something that was fetched nobody read. */
export interface Unread {
  unreadBytes: number;
  /** The same by file, most first. */
  unread: { path: Buffer; bytes: number }[];
}

/** A touch, and the file it belongs to; none for bytes that no file has. */
export interface PlacedTouch extends Touch {
  file: TracedFile | undefined;
}

/** What a run read of one file. Bytes are decoded ones, in whole pages. */
export interface FileUse extends TracedFile {
  touches: PlacedTouch[];
  /** Of the first touch, in milliseconds. */
  firstMs: number;
  bytes: number;
  /** Sum of all waits that began with this file, in milliseconds. */
  waitedMs: number;
}

/**
 * What a trace says about an image. Bytes are decoded ones unless they are called stored. Unread is what was fetched with chunks that readers
 * waited for.
 */
export interface TraceSummary extends Unread {
  touchedBytes: number;
  pages: number;
  /** Chunks that were touched, their bytes, and the stored bytes of the units that hold them. */
  chunks: number;
  chunkBytes: number;
  storedBytes: number;
  /** From the first request to the last answer. */
  spanMs: number;
  /** By what was waited for. Waits at the same time are counted each. */
  classes: Record<TouchSource, { touches: number; bytes: number; waitedMs: number }>;
  /** In order of first touch. */
  files: FileUse[];
  /** The longest waits, longest first. */
  longest: PlacedTouch[];
  /** The start-up pack that the run had, if it had one: its decoded bytes, and what of them nobody read. */
  pack?: Unread & { bytes: number };
}

/** How many of the longest waits are told. */
const LONGEST = 10;

/** Puts `trace` beside its image. Throws USAGE if it is of another image, and what reading the tree throws. */
export function summarize(trace: Trace, { bootstrap, maps, pack }: TracedImage): TraceSummary {
  checkImage(trace, bootstrap);
  const ranges = new FileRanges(bootstrap);
  const files = new Map<TracedFile, FileUse>();
  const useOf = (file: TracedFile, firstMs: number) => {
    const known = files.get(file) ?? { ...file, touches: [], firstMs, bytes: 0, waitedMs: 0 };
    files.set(file, known);
    return known;
  };
  const placed: PlacedTouch[] = [];
  const classes = { local: emptyClass(), fetch: emptyClass(), startup: emptyClass() };
  for (const touch of trace.touches) {
    const { blob, offset, length, atMs, waitedMs, from } = touch;
    const end = offset + length;
    let first: FileUse | undefined;
    let file: TracedFile | undefined;
    for (const range of ranges.overlapping(blob, offset, end)) {
      const use = useOf(range.file, atMs);
      use.bytes += Math.min(end, range.end) - Math.max(offset, range.start);
      first ??= use;
      file ??= range.file;
    }
    const placedTouch = { ...touch, file };
    placed.push(placedTouch);
    if (first !== undefined) {
      first.waitedMs += waitedMs;
      first.touches.push(placedTouch);
    }
    const ofClass = classes[from];
    ofClass.touches++;
    ofClass.bytes += length;
    ofClass.waitedMs += waitedMs;
  }
  const uses = maps.map((map, blob) =>
    chunkUse(
      map,
      trace.touches.filter((touch) => touch.blob === blob),
    ),
  );
  const sum = (of: (use: (typeof uses)[number]) => number) => uses.reduce((all, use) => all + of(use), 0);
  const start = Math.min(...trace.touches.slice(0, 1).map(({ atMs }) => atMs));
  return {
    touchedBytes: touchedBytes(trace),
    pages: trace.touches.reduce((all, { length }) => all + Math.ceil(length / TRACE_PAGE_SIZE), 0),
    chunks: sum(({ chunks }) => chunks),
    chunkBytes: sum(({ chunkBytes }) => chunkBytes),
    storedBytes: sum(({ storedBytes }) => storedBytes),
    spanMs: trace.touches.reduce((end, { atMs, waitedMs }) => Math.max(end, atMs + waitedMs - start), 0),
    classes,
    files: [...files.values()],
    longest: placed
      .filter(({ waitedMs }) => waitedMs > 0)
      .sort((a, b) => b.waitedMs - a.waitedMs)
      .slice(0, LONGEST),
    ...unreadOf(
      trace,
      uses.map(({ fetched }) => fetched),
      ranges,
    ),
    ...(pack && { pack: { bytes: sizeOf(pack), ...unreadOf(trace, pack, ranges) } }),
  };
}

function sizeOf(ranges: readonly (readonly DecodedRange[])[]): number {
  return ranges.flat().reduce((all, { start, end }) => all + end - start, 0);
}

function emptyClass() {
  return { touches: 0, bytes: 0, waitedMs: 0 };
}

function checkImage({ reference, blobs }: Trace, bootstrap: Bootstrap): void {
  const ids = bootstrap.blobs.map(({ id }) => id);
  if (ids.length === blobs.length && ids.every((id, index) => id === blobs[index])) return;
  throw new RafterError('USAGE', `the trace is not of ${bootstrap.name}: its blobs are others`, {
    hint: `it is of ${reference}`,
  });
}

/** What of the fetched ranges (for each blob) nobody read. */
function unreadOf(
  { touches }: Trace,
  fetched: readonly (readonly DecodedRange[])[],
  ranges: FileRanges,
): Unread {
  const byFile = new Map<TracedFile, number>();
  let unreadBytes = 0;
  const note = (blob: number, start: number, end: number) => {
    unreadBytes += end - start;
    for (const range of ranges.overlapping(blob, start, end)) {
      const bytes = Math.min(end, range.end) - Math.max(start, range.start);
      byFile.set(range.file, (byFile.get(range.file) ?? 0) + bytes);
    }
  };
  for (const [blob, came] of fetched.entries()) {
    const read = touches.filter((touch) => touch.blob === blob).sort((a, b) => a.offset - b.offset);
    let next = 0;
    for (const { start, end } of came) {
      while (next < read.length && read[next]!.offset + read[next]!.length <= start) next++;
      let at = start;
      for (let i = next; at < end && i < read.length && read[i]!.offset < end; i++) {
        const { offset, length } = read[i]!;
        if (offset > at) note(blob, at, offset);
        at = Math.max(at, offset + length);
      }
      if (at < end) note(blob, at, end);
    }
  }
  const unread = Array.from(byFile, ([{ path }, bytes]) => ({ path, bytes }));
  return { unreadBytes, unread: unread.sort((a, b) => b.bytes - a.bytes) };
}
