import { describe, expect, it } from 'vitest';
import type { Bootstrap, ChunkMap } from '../../src/rafs/bootstrap.js';
import { tracePage } from '../../src/trace/html.js';
import { summarize } from '../../src/trace/summary.js';
import { MAX_ROWS } from '../../src/trace/timeline.js';
import { goldenBootstrap } from '../mount/golden.js';
import { touchOf, traceOf } from './traces.js';

const PAGE = 4096;
const CHUNK = 16 * PAGE;

interface File {
  name: string;
  /** First page in blob 0, and pages. */
  page: number;
  pages: number;
}

/** An image with one directory of files, each in chunks of 16 pages, as far as a summary looks at it. */
function imageOf(files: File[], batches: (page: number) => number | undefined = () => undefined) {
  const inode = (index: number) =>
    index < 0
      ? { nid: 1, type: 'dir' as const }
      : {
          nid: 10 + index,
          type: 'file' as const,
          size: files[index]!.pages * PAGE,
          chunkCount: Math.ceil(files[index]!.pages / 16),
          xattrSize: 0,
        };
  const bootstrap = {
    name: 'image',
    size: 1 << 20,
    rootNid: 1,
    chunkSize: CHUNK,
    blobs: traceOf([]).blobs.map((id) => ({ id })),
    inode: (nid: number) => inode(nid - 10 < 0 ? -1 : nid - 10),
    readdir: () => files.map(({ name }, i) => ({ name: Buffer.from(name), nid: 10 + i, type: 'file' })),
    chunkAt: ({ nid }: { nid: number }, k: number) => ({
      blobIndex: 0,
      chunkIndex: 0,
      decodedOffset: (files[nid - 10]!.page + 16 * k) * PAGE,
    }),
  } as unknown as Bootstrap;
  const starts = files.flatMap(({ page, pages }) =>
    Array.from({ length: Math.ceil(pages / 16) }, (_, k) => ({
      page: page + 16 * k,
      pages: Math.min(16, pages - 16 * k),
    })),
  );
  const map: ChunkMap = {
    chunkCount: starts.length,
    chunk: (index) => {
      const { page, pages } = starts[index]!;
      const batch = batches(page);
      return {
        index,
        decodedOffset: page * PAGE,
        size: pages * PAGE,
        storedOffset: batch === undefined ? page * 1000 : batch,
        storedSize: batch === undefined ? pages * 1000 : 0,
        compressed: true,
        encrypted: false,
        crc: undefined,
        batch:
          batch === undefined ? undefined : { index: batch, offset: 0, storedSize: 500, decodedSize: CHUNK },
        inflate: undefined,
      };
    },
    chunkAtDecoded: (offset) => starts.filter(({ page, pages }) => (page + pages) * PAGE <= offset).length,
  };
  const empty: ChunkMap = { ...map, chunkCount: 0, chunkAtDecoded: () => 0 };
  return { bootstrap, maps: [map, empty] };
}

const image = imageOf([
  { name: 'a', page: 0, pages: 40 },
  { name: 'b', page: 40, pages: 2 },
]);
const trace = traceOf([
  touchOf(4, 2, { atMs: 10, waitedMs: 30, from: 'fetch' }),
  touchOf(41, 1, { atMs: 50, waitedMs: 5, from: 'startup' }),
  touchOf(20, 4, { atMs: 60 }),
]);

describe('the summary of a trace', () => {
  it('says what was read of which file', () => {
    const { files } = summarize(trace, image);
    expect(
      files.map(({ path, touches, ...rest }) => ({
        path: path.toString(),
        touches: touches.length,
        ...rest,
      })),
    ).toEqual([
      { path: '/a', touches: 2, size: 40 * PAGE, firstMs: 10, bytes: 6 * PAGE, waitedMs: 30 },
      { path: '/b', touches: 1, size: 2 * PAGE, firstMs: 50, bytes: PAGE, waitedMs: 5 },
    ]);
  });

  it('has totals in pages, in chunks and in compressed chunks', () => {
    expect(summarize(trace, image)).toMatchObject({
      touchedBytes: 7 * PAGE,
      pages: 7,
      chunks: 3,
      chunkBytes: (16 + 16 + 2) * PAGE,
      storedBytes: 34_000,
      spanMs: 50,
      classes: {
        local: { touches: 1, bytes: 4 * PAGE, waitedMs: 0 },
        fetch: { touches: 1, bytes: 2 * PAGE, waitedMs: 30 },
        startup: { touches: 1, bytes: PAGE, waitedMs: 5 },
      },
    });
  });

  it('names the longest waits, longest first, ten at most', () => {
    const { longest } = summarize(trace, image);
    expect(longest.map(({ waitedMs, file }) => [waitedMs, file?.path.toString()])).toEqual([
      [30, '/a'],
      [5, '/b'],
    ]);
    const many = traceOf(
      Array.from({ length: 11 }, (_, i) => touchOf(i, 1, { waitedMs: i + 1, from: 'fetch' })),
    );
    expect(summarize(many, image).longest.map(({ waitedMs }) => waitedMs)).toEqual([
      11, 10, 9, 8, 7, 6, 5, 4, 3, 2,
    ]);
  });

  it('counts what was fetched and never read: the rest of the chunk, of demand fetches only', () => {
    const { unreadBytes, unread } = summarize(trace, image);
    expect(unreadBytes).toBe(14 * PAGE);
    expect(unread).toEqual([{ path: Buffer.from('/a'), bytes: 14 * PAGE }]);
  });

  it('counts what of the start-up pack nobody read, apart from that', () => {
    const page = (from: number, to: number) => ({ start: from * PAGE, end: to * PAGE });
    const pack = [[page(4, 8), page(18, 30), page(40, 42)], []];
    const summary = summarize(trace, { ...image, pack });
    expect(summary.pack).toEqual({
      bytes: 18 * PAGE,
      unreadBytes: 11 * PAGE,
      unread: [
        { path: Buffer.from('/a'), bytes: 10 * PAGE },
        { path: Buffer.from('/b'), bytes: PAGE },
      ],
    });
    expect(summary.unreadBytes).toBe(14 * PAGE);
    const drawn = tracePage(trace, summary);
    expect(drawn).toContain('It came in the start-up pack, which has 73.7 kB.');
    expect(drawn).toContain('<b>102 kB</b><span>fetched and never read</span>');
    expect(tracePage(trace, summarize(trace, image))).not.toContain('in the start-up pack and never read');
  });

  it('counts a batch once, and what came with it', () => {
    const small = imageOf(
      [
        { name: 'a', page: 0, pages: 1 },
        { name: 'b', page: 1, pages: 2 },
        { name: 'c', page: 3, pages: 1 },
      ],
      () => 7,
    );
    const one = traceOf([touchOf(0, 1, { from: 'fetch', waitedMs: 1 }), touchOf(3, 1)]);
    expect(summarize(one, small)).toMatchObject({
      chunks: 2,
      storedBytes: 500,
      unreadBytes: 2 * PAGE,
      unread: [{ path: Buffer.from('/b'), bytes: 2 * PAGE }],
    });
  });

  it('refuses another image', () => {
    const other = { bootstrap: goldenBootstrap('full'), maps: [] };
    expect(() => summarize(trace, other)).toThrow(
      expect.objectContaining({ code: 'USAGE', message: expect.stringContaining('its blobs are others') }),
    );
  });

  it('is all zeros for a run that read nothing', () => {
    const nothing = summarize(traceOf([]), image);
    expect(nothing).toMatchObject({ pages: 0, spanMs: 0, files: [], longest: [], unread: [] });
    expect(tracePage(traceOf([]), nothing)).toContain('Nobody had to wait.');
  });
});

describe('the page of a trace', () => {
  it('shows names of an image as text, whatever is in them', () => {
    const names = ['<script>alert(1)<', '"onload="x', "a'&amp;b", 'x\u202egpj\n\u0007'];
    const hostile = imageOf(names.map((name, i) => ({ name, page: i, pages: 1 })));
    const read = traceOf(
      names.map((_, i) => touchOf(i, 1, { atMs: i, waitedMs: 1, from: 'fetch' })),
      { reference: 'oci:<b>"x"', command: ['<img src=x onerror=alert(1)>'] },
    );
    const page = tracePage(read, summarize(read, hostile));
    for (const text of ['<script', '<img', '<b>"', '"onload', '\u202e', '\u0007'])
      expect(page.includes(text), text).toBe(false);
    const shown = [
      '&lt;script&gt;alert(1)&lt;',
      '&lt;img src=x onerror=alert(1)&gt;',
      'x\\u{202e}gpj\\u{a}\\u{7}',
    ];
    for (const text of shown) expect(page.includes(text), text).toBe(true);
    // The browser is to ask for nothing and to run nothing, whatever else gets in.
    expect(page.includes("default-src 'none'; style-src 'unsafe-inline'")).toBe(true);
    expect(/<[a-z]+ [^>]*\b(src|href|on[a-z]+)=/.exec(page)?.[0]).toBeUndefined();
  });

  it('draws every wait and every touch where it belongs', () => {
    const page = tracePage(trace, summarize(trace, image));
    // The wait of 30 ms within 50 ms of an axis from 8 to 1032, in the overview.
    expect(page).toContain('<rect class="fetch" x="8" y="188" width="614.4" height="6" rx="1"/>');
    expect(page.match(/<rect class="local"/g)).toHaveLength(1);
    expect(page.match(/<rect class="startup"/g)).toHaveLength(2);
    expect(page).toContain('<title>/a: 24.6 kB, waited 30 ms</title>');
  });

  it('has so many rows at most', () => {
    const files = Array.from({ length: MAX_ROWS + 3 }, (_, i) => ({ name: `f${i}`, page: i, pages: 1 }));
    const all = traceOf(files.map(({ page }) => touchOf(page, 1)));
    const page = tracePage(all, summarize(all, imageOf(files)));
    expect(page.match(/class="name"/g)).toHaveLength(MAX_ROWS);
    expect(page).toContain('and 3 more files');
  });
});
