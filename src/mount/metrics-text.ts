import type { Histogram } from '../cache/fetch/histogram.js';

/** A metric as Prometheus describes it: every sample of it carries the same name. */
export interface MetricFamily {
  /** `rafter_..._total`, `..._bytes`, `..._seconds`: base units, as Prometheus' naming practices say. */
  name: string;
  type: 'counter' | 'gauge' | 'histogram';
  /** One sentence. */
  help: string;
}

export interface Sample {
  /** `_bucket`, `_sum` or `_count` of a histogram. */
  suffix?: string;
  labels?: Readonly<Record<string, string>>;
  value: number;
}

/** Media type of the text format (Prometheus, "Exposition formats"). */
export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** One metric in Prometheus' text format, version 0.0.4; nothing if there are no samples. */
export function formatMetric({ name, type, help }: MetricFamily, samples: readonly Sample[]): string {
  if (samples.length === 0) return '';
  const lines = samples.map(
    ({ suffix = '', labels = {}, value }) =>
      `${name}${suffix}${formatLabels(labels)} ${formatValue(value)}\n`,
  );
  return `# HELP ${name} ${escapeText(help)}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}

function formatLabels(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${name}="${escapeText(value).replaceAll('"', '\\"')}"`,
  );
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function formatValue(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
}

function escapeText(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}

/** The samples of a histogram, in which each bucket counts what the ones before it count, too. */
export function histogramSamples({ bounds, buckets, sumSeconds, count }: Histogram): Sample[] {
  let below = 0;
  const samples = buckets.map((inBucket, i): Sample => {
    below += inBucket;
    return {
      suffix: '_bucket',
      labels: { le: formatValue(bounds[i] ?? Number.POSITIVE_INFINITY) },
      value: below,
    };
  });
  return [...samples, { suffix: '_sum', value: sumSeconds }, { suffix: '_count', value: count }];
}
