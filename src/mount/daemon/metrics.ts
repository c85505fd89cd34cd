import type { FetchStats } from '../../cache/fetch/fetch-stats.js';
import { listStems, sizeOfBlob } from '../../cache/quota/catalog.js';
import type { CacheStore } from '../../cache/store.js';
import type { MountInfo } from '../api/api.js';
import type { Meters } from '../meters.js';
import { formatMetric, histogramSamples, type MetricFamily, type Sample } from '../metrics-text.js';

/** What the metrics are taken from. */
export interface MetricSources {
  version: string;
  cache: Pick<CacheStore, 'dir' | 'stats' | 'fetchStats' | 'quota' | 'problem'>;
  meters: Meters;
  mounts: () => readonly Pick<MountInfo, 'driver' | 'transport'>[];
}

/** All that one scrape shows. */
interface Scrape extends Omit<MetricSources, 'mounts'> {
  stats: CacheStore['stats'];
  fetches: FetchStats;
  mounts: readonly Pick<MountInfo, 'driver' | 'transport'>[];
  cacheBytes: number;
  cpu: NodeJS.CpuUsage;
  memory: NodeJS.MemoryUsage;
}

interface Metric extends MetricFamily {
  /** Names of the labels, `le` of histograms aside. */
  labels?: readonly string[];
  take(scrape: Scrape): Sample[];
}

const one = (value: number, labels: Record<string, string> = {}): Sample[] => [{ value, labels }];

/** Every metric of the daemon, in the order of the text. docs/metrics.md describes them for users. */
export const METRICS: readonly Metric[] = [
  {
    name: 'rafter_build_info',
    type: 'gauge',
    help: 'Version of the daemon; always 1.',
    labels: ['version'],
    take: ({ version }) => one(1, { version }),
  },
  {
    name: 'rafter_mounts',
    type: 'gauge',
    help: 'Mounted images.',
    labels: ['driver', 'transport'],
    take: ({ mounts }) => countMounts(mounts),
  },
  {
    name: 'rafter_cache_hits_total',
    type: 'counter',
    help: 'Chunks that a read found on the local disk.',
    take: ({ stats }) => one(stats.hits),
  },
  {
    name: 'rafter_cache_misses_total',
    type: 'counter',
    help: 'Chunks that a read had to fetch, or to wait for.',
    take: ({ stats }) => one(stats.misses),
  },
  {
    name: 'rafter_cache_copied_chunks_total',
    type: 'counter',
    help: 'Chunks that were not fetched because another blob of the cache had them.',
    take: ({ stats }) => one(stats.copied),
  },
  {
    name: 'rafter_cache_stored_bytes_total',
    type: 'counter',
    help: 'Decoded bytes that were written to the cache.',
    take: ({ stats }) => one(stats.storedBytes),
  },
  {
    name: 'rafter_cache_evicted_chunks_total',
    type: 'counter',
    help: 'Chunks that were given back to make room.',
    take: ({ stats }) => one(stats.evicted),
  },
  {
    name: 'rafter_cache_dropped_chunks_total',
    type: 'counter',
    help: 'Chunks that were damaged or unreadable on the local disk.',
    take: ({ stats }) => one(stats.dropped),
  },
  {
    name: 'rafter_cache_unkept_chunks_total',
    type: 'counter',
    help: 'Chunks that were served but not kept, because there was no room.',
    take: ({ stats }) => one(stats.notKept),
  },
  {
    name: 'rafter_cache_write_errors_total',
    type: 'counter',
    help: 'Failed writes to the cache directory.',
    take: ({ stats }) => one(stats.writeErrors),
  },
  {
    name: 'rafter_cache_size_bytes',
    type: 'gauge',
    help: 'Bytes of the cache on the local disk.',
    take: ({ cacheBytes }) => one(cacheBytes),
  },
  {
    name: 'rafter_cache_limit_bytes',
    type: 'gauge',
    help: 'Bytes that the cache may have on the local disk; missing without a limit.',
    take: ({ cache }) => (cache.quota === undefined ? [] : one(cache.quota.limit)),
  },
  {
    name: 'rafter_cache_problem',
    type: 'gauge',
    help: '1 while the cache keeps nothing, because its directory takes no writes; else 0.',
    take: ({ cache }) => one(cache.problem === undefined ? 0 : 1),
  },
  {
    name: 'rafter_cache_wait_seconds',
    type: 'histogram',
    help: 'How long readers waited for chunks that were not here, until the last one had come.',
    take: ({ fetches }) => histogramSamples(fetches.demandWait),
  },
  {
    name: 'rafter_fetch_requests_total',
    type: 'counter',
    help: 'Range requests to registries and other sources.',
    labels: ['class'],
    take: ({ fetches }) => byClass(fetches, ({ requests }) => requests),
  },
  {
    name: 'rafter_fetched_bytes_total',
    type: 'counter',
    help: 'Stored bytes of blobs that were fetched.',
    labels: ['class'],
    take: ({ fetches }) => byClass(fetches, ({ fetchedBytes }) => fetchedBytes),
  },
  {
    name: 'rafter_source_bytes_total',
    type: 'counter',
    help: 'Bytes of blobs that came through a Dragonfly peer, and from registries and their mirrors, bootstraps included.',
    labels: ['from'],
    take: ({ meters }) => meters.sourceBytes.samples(),
  },
  {
    name: 'rafter_p2p_failures_total',
    type: 'counter',
    help: 'How often a Dragonfly peer was set aside and blobs were read from the registry, by the reason.',
    labels: ['reason'],
    take: ({ meters }) => meters.peerFailures.samples(),
  },
  {
    name: 'rafter_fetch_duration_seconds',
    type: 'histogram',
    help: 'How long the range requests that succeeded took, attempts that failed included.',
    take: ({ meters }) => histogramSamples(meters.fetches),
  },
  {
    name: 'rafter_fetch_errors_total',
    type: 'counter',
    help: 'Range requests that failed for good, by the code of the error.',
    labels: ['code'],
    take: ({ meters }) => meters.fetchErrors.samples(),
  },
  {
    name: 'rafter_fetch_decode_errors_total',
    type: 'counter',
    help: 'Fetched chunks and batches that were damaged.',
    take: ({ stats }) => one(stats.decodeErrors),
  },
  {
    name: 'rafter_fetch_refetches_total',
    type: 'counter',
    help: 'Requests that were made again because of a damaged chunk or batch.',
    take: ({ stats }) => one(stats.refetches),
  },
  {
    name: 'rafter_read_wait_seconds',
    type: 'histogram',
    help: 'How long reads of mounted files waited that could not be answered at once.',
    take: ({ meters }) => histogramSamples(meters.reads),
  },
  {
    name: 'rafter_reads_waiting',
    type: 'gauge',
    help: 'Reads of mounted files that wait now.',
    take: ({ meters }) => one(meters.waitingReads()),
  },
  {
    name: 'rafter_read_errors_total',
    type: 'counter',
    help: 'Reads of mounted files that got an error, by the code of its reason.',
    labels: ['code'],
    take: ({ meters }) => meters.readErrors.samples(),
  },
  {
    name: 'rafter_api_errors_total',
    type: 'counter',
    help: 'Requests to the daemon that were answered with an error, by its code.',
    labels: ['code'],
    take: ({ meters }) => meters.requestErrors.samples(),
  },
  {
    name: 'process_cpu_seconds_total',
    type: 'counter',
    help: 'Processor time of the daemon, user and system.',
    take: ({ cpu }) => one((cpu.user + cpu.system) / 1e6),
  },
  {
    name: 'process_resident_memory_bytes',
    type: 'gauge',
    help: 'Resident memory of the daemon.',
    take: ({ memory }) => one(memory.rss),
  },
  {
    name: 'process_start_time_seconds',
    type: 'gauge',
    help: 'When the daemon was started, in seconds since 1970.',
    take: () => one(performance.timeOrigin / 1000),
  },
  {
    name: 'nodejs_heap_size_used_bytes',
    type: 'gauge',
    help: 'Memory of JavaScript objects in the main thread.',
    take: ({ memory }) => one(memory.heapUsed),
  },
  {
    name: 'nodejs_external_memory_bytes',
    type: 'gauge',
    help: 'Memory outside of the heap that JavaScript objects of the main thread hold, buffers included.',
    take: ({ memory }) => one(memory.external),
  },
];

/** All metrics in Prometheus' text format. */
export async function collectMetrics(sources: MetricSources): Promise<string> {
  const { cache, mounts } = sources;
  const scrape: Scrape = {
    ...sources,
    stats: cache.stats,
    fetches: cache.fetchStats,
    mounts: mounts(),
    cacheBytes: cache.quota?.used ?? (await diskBytesOf(cache.dir)),
    cpu: process.cpuUsage(),
    memory: process.memoryUsage(),
  };
  return METRICS.map((metric) => formatMetric(metric, metric.take(scrape))).join('');
}

function byClass(
  { classes }: FetchStats,
  pick: (stats: FetchStats['classes']['demand']) => number,
): Sample[] {
  return Object.entries(classes).map(([name, stats]) => ({ labels: { class: name }, value: pick(stats) }));
}

/** Drivers without mounts are shown, too: a series that comes and goes is hard to draw. */
function countMounts(mounts: Scrape['mounts']): Sample[] {
  const kinds = [
    { driver: 'erofs' },
    { driver: 'fuse', transport: 'device' },
    { driver: 'fuse', transport: 'libfuse' },
  ] as const;
  return kinds.map((kind): Sample => {
    const transport = 'transport' in kind ? kind.transport : undefined;
    const same = mounts.filter((mount) => mount.driver === kind.driver && mount.transport === transport);
    return { labels: { driver: kind.driver, transport: transport ?? '' }, value: same.length };
  });
}

async function diskBytesOf(dir: string): Promise<number> {
  const sizes = await Promise.all((await listStems(dir)).map((name) => sizeOfBlob(dir, name)));
  return sizes.reduce((sum, found) => sum + (found?.diskBytes ?? 0), 0);
}
