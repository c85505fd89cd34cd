import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, it } from 'vitest';
import { noFetchStats } from '../../../src/cache/fetch/fetch-stats.js';
import { newHistogram, observe } from '../../../src/cache/fetch/histogram.js';
import { noStats } from '../../../src/cache/stats.js';
import { RafterError } from '../../../src/errors.js';
import { FsError } from '../../../src/fuse/fs-error.js';
import { collectMetrics, METRICS } from '../../../src/mount/daemon/metrics.js';
import { createMeters } from '../../../src/mount/meters.js';
import { formatMetric, histogramSamples } from '../../../src/mount/metrics-text.js';
import { parseMetrics } from '../../support/prometheus.js';

const NAMES = [
  'build_info',
  'mounts',
  'cache_hits_total',
  'cache_size_bytes',
  'fetch_requests_total',
  'fetched_bytes_total',
  'fetch_duration_seconds',
  'read_wait_seconds',
];

async function scrape(change: Partial<Parameters<typeof collectMetrics>[0]> = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'rafter-metrics-'));
  try {
    writeFileSync(join(dir, `${'a'.repeat(64)}.data`), Buffer.alloc(100_000, 1));
    const cache = {
      dir,
      stats: { ...noStats(), hits: 7 },
      fetchStats: noFetchStats(),
      quota: undefined,
      problem: undefined,
    };
    const sources = { version: '1"2\\3', cache, meters: createMeters(), mounts: () => [], ...change };
    return parseMetrics(await collectMetrics({ ...sources, cache: { ...cache, ...change.cache } }));
  } finally {
    rmSync(dir, { recursive: true });
  }
}
const values = (metrics: Awaited<ReturnType<typeof scrape>>, name: string) =>
  metrics.get(name)?.samples.map(({ value }) => value);

it('are a text that Prometheus reads, with what is known at the start', async () => {
  const metrics = await scrape();
  expect([...metrics.keys()]).toEqual(expect.arrayContaining(NAMES.map((name) => `rafter_${name}`)));
  expect(metrics.get('rafter_build_info')!.samples[0]!.labels).toEqual({ version: '1"2\\3' });
  expect(values(metrics, 'rafter_cache_hits_total')).toEqual([7]);
  expect(values(metrics, 'rafter_cache_size_bytes')![0]).toBeGreaterThanOrEqual(100_000);
  expect(metrics.has('rafter_cache_limit_bytes')).toBe(false);
  expect(values(metrics, 'rafter_cache_problem')).toEqual([0]);
  expect(values(metrics, 'process_start_time_seconds')![0]).toBeLessThan(Date.now() / 1000);
});

it('show limit and trouble of the cache, fetches by class, and mounts by driver', async () => {
  const stats = noStats();
  const fetchStats = noFetchStats();
  fetchStats.classes.readahead.fetchedBytes = 4096;
  observe(fetchStats.demandWait, 0.2);
  const cache = { dir: '/', stats, fetchStats, quota: { limit: 9, used: 5 }, problem: 'no room' };
  const mounts = () => [
    { driver: 'erofs' as const },
    { driver: 'fuse' as const, transport: 'device' as const },
  ];
  const metrics = await scrape({ cache, mounts });
  expect(values(metrics, 'rafter_cache_size_bytes')).toEqual([5]);
  expect(values(metrics, 'rafter_cache_limit_bytes')).toEqual([9]);
  expect(values(metrics, 'rafter_cache_problem')).toEqual([1]);
  expect(values(metrics, 'rafter_mounts')).toEqual([1, 1, 0]);
  expect(metrics.get('rafter_fetched_bytes_total')!.samples).toContainEqual({
    name: 'rafter_fetched_bytes_total',
    labels: { class: 'readahead' },
    value: 4096,
  });
  expect(values(metrics, 'rafter_cache_wait_seconds')!.slice(-2)).toEqual([0.2, 1]);
});

it('count latencies, errors by the code of their reason, and what waits', async () => {
  const meters = createMeters();
  await meters.measureFetch(Promise.resolve());
  const cause = new RafterError('UNAVAILABLE', 'gone');
  const failed = Promise.reject(new FsError('EIO', 'blob', { cause }));
  await expect(meters.measureRead(failed)).rejects.toThrow('EIO');
  await expect(meters.measureRead(Promise.reject(new Error('odd')))).rejects.toThrow('odd');
  await expect(meters.measureRead(Promise.reject(new FsError('EINTR', 'gave up')))).rejects.toThrow('EINTR');
  let end = () => {};
  const waiting = meters.measureRead(
    new Promise<void>((done) => {
      end = done;
    }),
  );
  const metrics = await scrape({ meters });
  expect(values(metrics, 'rafter_fetch_duration_seconds')!.slice(-1)).toEqual([1]);
  expect(values(metrics, 'rafter_read_wait_seconds')!.slice(-1)).toEqual([0]);
  expect(values(metrics, 'rafter_reads_waiting')).toEqual([1]);
  expect(metrics.get('rafter_read_errors_total')!.samples).toEqual([
    { name: 'rafter_read_errors_total', labels: { code: 'UNAVAILABLE' }, value: 1 },
    { name: 'rafter_read_errors_total', labels: { code: 'FAILED' }, value: 1 },
  ]);
  expect(metrics.has('rafter_fetch_errors_total')).toBe(false);
  end();
  await waiting;
  expect(meters.waitingReads()).toBe(0);
});

it('put an observation into the first bucket that holds it', () => {
  const fetches = newHistogram();
  for (const seconds of [0.001, 0.0011, 120, 121]) observe(fetches, seconds);
  const family = { name: 'x_seconds', type: 'histogram', help: 'x' } as const;
  const samples = parseMetrics(formatMetric(family, histogramSamples(fetches))).get('x_seconds')!.samples;
  const below = (le: string) => samples.find(({ labels }) => labels.le === le)!.value;
  expect([below('0.001'), below('0.0025'), below('60'), below('120'), below('+Inf')]).toEqual([
    1, 2, 2, 3, 4,
  ]);
});

it('are in docs/metrics.md, each with its type, labels and text', () => {
  const rows = readFileSync(resolve(import.meta.dirname, '../../../docs/metrics.md'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| `'));
  const code = (text: string) => `\`${text}\``;
  expect(rows).toEqual(
    METRICS.map(
      ({ name, type, labels = [], help }) =>
        `| ${code(name)} | ${type} | ${labels.map(code).join(', ')} | ${help} |`,
    ),
  );
});
