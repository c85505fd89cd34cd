/** A sample of Prometheus' text format. */
interface ParsedSample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** A metric with its samples, in the order of the text. */
export interface ParsedMetric {
  name: string;
  type: string;
  help: string;
  samples: ParsedSample[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(?:,|$)/;

/**
 * Reads Prometheus' text format (version 0.0.4) and throws at everything that it, or promtool's rules, do not allow: lines without
 * HELP and TYPE before them, metrics in pieces, samples twice, counters without `_total`, histograms that do not add up.
 */
export function parseMetrics(text: string): Map<string, ParsedMetric> {
  if (text !== '' && !text.endsWith('\n')) throw new Error('the last line does not end');
  const metrics = new Map<string, ParsedMetric>();
  let current: ParsedMetric | undefined;
  const lines = text.split('\n').slice(0, -1);
  for (let at = 0; at < lines.length; at++) {
    const [, helped, help] = /^# HELP (\S+) (.+)$/.exec(lines[at]!) ?? [];
    if (helped !== undefined) {
      const [, typed, type] = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(lines[++at] ?? '') ?? [];
      if (typed !== helped || !NAME.test(helped)) throw new Error(`${helped}: HELP without its TYPE`);
      if (metrics.has(helped)) throw new Error(`${helped} comes twice`);
      current = { name: helped, type: type!, help: help!, samples: [] };
      metrics.set(helped, current);
    } else if (current !== undefined) current.samples.push(parseSample(lines[at]!, current));
    else throw new Error(`line ${at + 1} belongs to no metric`);
  }
  for (const metric of metrics.values()) check(metric);
  return metrics;
}

function parseSample(line: string, { name, type }: ParsedMetric): ParsedSample {
  const [, found, labelText = '', valueText = ''] = SAMPLE.exec(line) ?? [];
  const names = type === 'histogram' ? ['_bucket', '_sum', '_count'].map((suffix) => name + suffix) : [name];
  if (found === undefined || !names.includes(found)) throw new Error(`${name} has the line ${line}`);
  const labels: Record<string, string> = {};
  for (let rest = labelText; rest !== ''; ) {
    const [all, label, value] = LABEL.exec(rest) ?? [];
    if (all === undefined || label! in labels) throw new Error(`labels of ${line}`);
    labels[label!] = value!.replace(/\\(.)/g, (_, c: string) => (c === 'n' ? '\n' : c));
    rest = rest.slice(all.length);
  }
  const value = valueText === '+Inf' ? Number.POSITIVE_INFINITY : Number(valueText);
  if (Number.isNaN(value)) throw new Error(`value of ${line}`);
  return { name: found, labels, value };
}

function check({ name, type, samples }: ParsedMetric): void {
  if (samples.length === 0) throw new Error(`${name} has no samples`);
  const keys = samples.map((sample) => JSON.stringify([sample.name, Object.entries(sample.labels).sort()]));
  if (new Set(keys).size !== keys.length) throw new Error(`${name} has a sample twice`);
  if (name.endsWith('_total') !== (type === 'counter')) throw new Error(`${name} is a ${type}`);
  if (type !== 'gauge' && samples.some(({ value }) => value < 0)) throw new Error(`${name} is below zero`);
  if (type === 'histogram') checkHistogram(name, samples);
}

function checkHistogram(name: string, samples: ParsedSample[]): void {
  const buckets = samples.filter((sample) => sample.name === `${name}_bucket`);
  const bounds = buckets.map(({ labels }) =>
    labels.le === '+Inf' ? Number.POSITIVE_INFINITY : Number(labels.le),
  );
  const rises = (numbers: number[]) => numbers.every((number, i) => i === 0 || number >= numbers[i - 1]!);
  if (!rises(bounds) || !rises(buckets.map(({ value }) => value)))
    throw new Error(`${name}: buckets out of order`);
  const single = (suffix: string) => samples.find((sample) => sample.name === name + suffix)?.value;
  if (bounds.at(-1) !== Number.POSITIVE_INFINITY || buckets.at(-1)!.value !== single('_count'))
    throw new Error(`${name}: the last bucket is not all`);
  if (single('_sum') === undefined) throw new Error(`${name} has no sum`);
}
