import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { parseReference } from '../../src/image/reference.js';
import { openImage } from '../../src/inspect/open-image.js';
import { daemonStatus, listMounts, mountTrace } from '../../src/mount/client/client.js';
import { summarize, type TraceSummary } from '../../src/trace/summary.js';
import { parseTrace, type Trace } from '../../src/trace/trace.js';
import { openSource } from '../../src/transports/open.js';
import { type CommandLine, createCommandLine } from '../support/command-line.js';
import { storeImage } from '../support/layout-image.js';
import { missingPrograms } from '../support/programs.js';

const PAGE = 4096;
const BIG = 700;
const run = promisify(execFile);

let rafter: CommandLine;
let image: string;

beforeAll(async () => {
  rafter = createCommandLine();
  const path = join(rafter.dir, 'source');
  const target = new LayoutTarget({ transport: 'oci', path, tag: 'x' });
  await storeImage(
    target,
    {
      big: randomBytes(BIG * PAGE + 100),
      small: randomBytes(2 * PAGE),
      never: randomBytes(3 * PAGE),
      '<script>alert(1)<': randomBytes(10),
    },
    { tag: true, architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' },
  );
  await target.commit();
  image = `oci:${rafter.dir}/nydus:x`;
  await rafter.ok('convert', '--quiet', `oci:${path}:x`, image);
});
afterAll(async () => {
  expect(await rafter.remove()).toEqual([]);
});

/** Reads `pages` pages of a file from page `first` on, as another program: this one may be asked for their bytes. */
async function readPages(file: string, first: number, pages: number): Promise<void> {
  await run('dd', [`if=${file}`, 'of=/dev/null', `bs=${PAGE}`, `skip=${first}`, `count=${pages}`]);
}

/** The known script: the pages that it reads of each file, in order of first use. */
async function readKnown(root: string): Promise<void> {
  await readPages(join(root, 'big'), 500, 2);
  await readPages(join(root, 'small'), 1, 1);
  await readPages(join(root, 'big'), 3, 40);
  await readPages(join(root, 'big'), 10, 5);
  await run('cat', [join(root, '<script>alert(1)<')]);
  await readPages(join(root, 'big'), BIG, 1);
}
const known: [string, number[]][] = [
  ['/big', [500, 501, ...Array.from({ length: 40 }, (_, i) => 3 + i), BIG]],
  ['/small', [1]],
  ['/<script>alert(1)<', [0]],
];

/** Pages of each file in order of first touch, as the image's metadata places them. */
async function pagesOf(trace: Trace): Promise<{ pages: [string, number[]][]; summary: TraceSummary }> {
  const source = openSource(parseReference(image), {});
  try {
    const opened = await openImage(source);
    const { bootstrap } = opened;
    const maps = await Promise.all(bootstrap.blobs.map((_, index) => opened.layout(index)));
    const summary = summarize(trace, { bootstrap, maps });
    const root = bootstrap.inode(bootstrap.rootNid);
    const pages = summary.files.map(({ path, touches }): [string, number[]] => {
      const inode = bootstrap.inode(bootstrap.lookup(root, path.subarray(1))!);
      const chunks = Array.from({ length: Math.ceil(inode.size / bootstrap.chunkSize) }, (_, k) =>
        bootstrap.chunkAt(inode, k),
      );
      const pageAt = (blob: number, offset: number) => {
        const k = chunks.findLastIndex((c) => c.blobIndex === blob && c.decodedOffset <= offset);
        return (k * bootstrap.chunkSize + offset - chunks[k]!.decodedOffset) / PAGE;
      };
      const all = touches.flatMap(({ blob, offset, length }) =>
        Array.from({ length: Math.ceil(length / PAGE) }, (_, i) => pageAt(blob, offset + i * PAGE)),
      );
      return [path.toString(), all];
    });
    return { pages, summary };
  } finally {
    await source.close();
  }
}

const read = async (file: string) => parseTrace(await readFile(file), file);

const drivers = [
  { driver: 'erofs', transport: 'device', rounds: ['fetched', 'local'] },
  { driver: 'fuse', transport: 'device', rounds: ['fetched', 'local'] },
  { driver: 'fuse', transport: 'libfuse', rounds: ['local'] },
] as const;

describe.skipIf(process.geteuid?.() !== 0)('a traced mount', () => {
  it.each(drivers)(
    'records the very pages that are read, by $driver through $transport, fetched and local',
    async ({ driver, transport, rounds }) => {
      const directory = rafter.dir;
      const file = join(directory, 'a.trace');
      const how = driver === 'erofs' ? ['--driver', driver] : ['--driver', driver, '--transport', transport];
      if (rounds[0] === 'fetched') await rafter.ok('cache', 'prune', '--all');
      for (const round of rounds) {
        const mountpoint = join(directory, `m-${driver}-${transport}-${round}`);
        await mkdir(mountpoint, { recursive: true });
        await rafter.ok('mount', ...how, '--trace', file, image, mountpoint);
        await readKnown(mountpoint);
        await rafter.ok('umount', mountpoint);
        const trace = await read(file);
        expect(trace).toMatchObject({ reference: image, driver, readAheadKiB: 4 });
        const { pages, summary } = await pagesOf(trace);
        expect(pages).toEqual(known);
        const times = trace.touches.map(({ atMs }) => atMs);
        expect(times).toEqual(times.toSorted((a, b) => a - b));
        const { fetch, local } = summary.classes;
        if (round === 'local') {
          expect(fetch.touches).toBe(0);
          expect(local.bytes).toBe(summary.touchedBytes);
          expect(trace.touches.every(({ waitedMs }) => waitedMs === 0)).toBe(true);
        } else {
          expect(trace.touches[0]).toMatchObject({ from: 'fetch', waitedMs: expect.any(Number) });
          expect(trace.touches[0]!.waitedMs).toBeGreaterThan(0);
          expect(summary.unread.map(({ path }) => path.toString())).toContain('/big');
        }
      }
      expect((await stat(file)).mode & 0o777).toBe(0o600);
    },
  );

  it('shows and saves what was read until now, and goes on when its daemon is killed', async () => {
    const mountpoint = join(rafter.dir, 'killed');
    const [saved, last] = ['saved', 'last'].map((name) => join(rafter.dir, `${name}.trace`)) as [
      string,
      string,
    ];
    await mkdir(mountpoint, { recursive: true });
    await rafter.ok('mount', '--trace', last, image, mountpoint);
    await readPages(join(mountpoint, 'big'), 100, 2);
    await rafter.ok('trace', 'save', mountpoint, saved);
    expect((await pagesOf(await read(saved))).pages).toEqual([['/big', [100, 101]]]);

    const place = { runDir: join(rafter.dir, 'run') };
    const { id } = (await listMounts(place)).find((mounted) => mounted.mountpoint === mountpoint)!;
    const journal = join(place.runDir, 'traces', `${id}.trace`);
    await vi.waitFor(async () => expect((await readFile(journal, 'latin1')).split('\n')).toHaveLength(4), {
      timeout: 30_000,
    });
    const { pid } = (await daemonStatus(place))!;
    process.kill(pid, 'SIGKILL');
    await readPages(join(mountpoint, 'big'), 200, 1);
    const after = await mountTrace(place, { id });
    expect((await pagesOf(after)).pages).toEqual([['/big', [100, 101, 200]]]);
    await rafter.ok('umount', mountpoint);
    const written = await read(last);
    expect(written.touches).toEqual(
      after.touches.map((touch) => ({ ...touch, atMs: expect.any(Number), waitedMs: expect.any(Number) })),
    );
    await expect(stat(journal)).rejects.toThrow('ENOENT');
  });

  it('says what is wrong with a file that cannot be written, a mount without a trace, another image', async () => {
    const mountpoint = join(rafter.dir, 'plain');
    await mkdir(mountpoint, { recursive: true });
    const nowhere = await rafter.run('mount', '--trace', join(rafter.dir, 'none/t'), image, mountpoint);
    expect(nowhere).toMatchObject({ code: 3, stderr: expect.stringContaining('there is no directory') });
    await rafter.ok('mount', image, mountpoint);
    const untraced = await rafter.run('trace', 'save', mountpoint, join(rafter.dir, 't'));
    expect(untraced).toMatchObject({ code: 3, stderr: expect.stringContaining('is not traced') });
    await rafter.ok('umount', mountpoint);
  });

  it('is shown as text, JSON and a page, and merged', async () => {
    const [file, other, merged, page] = ['b.trace', 'c.trace', 'both.trace', 'page.html'].map((name) =>
      join(rafter.dir, name),
    ) as [string, string, string, string];
    const mountpoint = join(rafter.dir, 'shown');
    await mkdir(mountpoint, { recursive: true });
    await rafter.ok('mount', '--trace', file, image, mountpoint);
    await readKnown(mountpoint);
    await rafter.ok('umount', mountpoint);
    await rafter.ok('mount', '--trace', other, '--read-ahead', '0', image, mountpoint);
    await readPages(join(mountpoint, 'never'), 0, 3);
    await rafter.ok('umount', mountpoint);
    await rafter.ok('trace', 'merge', file, other, '-o', merged);
    const { stdout } = await rafter.ok('trace', 'show', '--json', '--html', page, merged);
    const shown = JSON.parse(stdout);
    expect(shown).toMatchObject({ reference: image, pages: 48, touchedBytes: 48 * PAGE });
    expect(shown.files.map(({ path }: { path: string }) => path)).toEqual(
      expect.arrayContaining(['/big', '/never', '/small', '/<script>alert(1)<']),
    );
    const text = (await rafter.ok('trace', 'show', file, other)).stdout;
    expect(text).toMatch(/^4 files, .* in 48 pages/m);
    const html = await readFile(page, 'utf8');
    expect(html).toContain('/&lt;script&gt;alert(1)&lt;');
    expect(html.includes('<script')).toBe(false);
  });

  it('is a page that Chromium draws, light and dark', async (ctx) => {
    const missing = missingPrograms('chromium');
    if (missing) ctx.skip(missing);
    const page = join(rafter.dir, 'page.html');
    const shots: Buffer[] = [];
    for (const scheme of ['light', 'dark']) {
      const shot = join(rafter.dir, `${scheme}.png`);
      const dark = scheme === 'dark' ? ['--blink-settings=preferredColorScheme=0'] : [];
      const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--window-size=1000,1400', ...dark];
      await run('chromium', [
        ...flags,
        `--user-data-dir=${rafter.dir}/chromium`,
        `--screenshot=${shot}`,
        `file://${page}`,
      ]);
      shots.push(await readFile(shot));
    }
    const [light, dark] = shots as [Buffer, Buffer];
    for (const shot of shots) {
      expect(shot.subarray(1, 4).toString()).toBe('PNG');
      // An empty page of this size has a tenth of it.
      expect(shot.length).toBeGreaterThan(30_000);
    }
    expect(light.equals(dark)).toBe(false);
  });
});
