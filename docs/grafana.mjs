// The dashboard for Grafana, docs/grafana.json: what the daemons of many machines do, from their metrics in Prometheus.

/** Only daemons of rafter have the first metric: jobs and machines to choose from are theirs. */
const CHOSEN = 'job=~"$job",instance=~"$instance"';
const WINDOW = '[$__rate_interval]';
const DATASOURCE = { type: 'prometheus', uid: '$datasource' };
/** Grafana's grid. */
const COLUMNS = 24;
const HEIGHT = { stat: 4, timeseries: 8, row: 1 };

const gauge = (metric) => `${metric}{${CHOSEN}}`;
const rate = (metric) => `rate(${metric}{${CHOSEN}}${WINDOW})`;
const sum = (expression, by = '') => `sum${by && ` by (${by})`} (${expression})`;
const quantile = (share, metric) => `histogram_quantile(${share}, ${sum(rate(`${metric}_bucket`), 'le')})`;
const increase = (metric) => sum(`increase(${metric}{${CHOSEN}}[$__range])`);
/** Half of all, and all but one of a hundred. */
const quantiles = (metric) => [
  ['half', quantile(0.5, metric)],
  ['99 %', quantile(0.99, metric)],
];

/** Each section: its panels as title, unit, [legend, expression] of each line, and a description. */
const SECTIONS = {
  'At a glance': [
    stat('Daemons', 'short', sum(gauge('rafter_build_info')), 'Daemons that answer.'),
    stat('Mounted images', 'short', sum(gauge('rafter_mounts')), 'On all machines that are chosen.'),
    stat(
      'Reads that wait',
      'short',
      sum(gauge('rafter_reads_waiting')),
      'Now. Many, and for long: look at the registry.',
    ),
    stat(
      'Reads with an error',
      'short',
      increase('rafter_read_errors_total'),
      'In the time that is shown. Programs saw EIO.',
      1,
    ),
    stat(
      'Caches with a problem',
      'short',
      sum(gauge('rafter_cache_problem')),
      'Their directories take no writes; data is fetched again and again.',
      1,
    ),
    stat('Cache', 'bytes', sum(gauge('rafter_cache_size_bytes')), 'Bytes on the local disks.'),
  ],
  'What readers see': [
    lines(
      'How long reads waited',
      's',
      quantiles('rafter_read_wait_seconds'),
      'Reads of mounted files that could not be answered at once.',
    ),
    lines(
      'Reads with an error',
      'ops',
      [['{{code}}', sum(rate('rafter_read_errors_total'), 'code')]],
      'By the code of the reason.',
    ),
    lines(
      'Found in the cache',
      'percentunit',
      [
        [
          'share',
          `${sum(rate('rafter_cache_hits_total'))} / (${sum(rate('rafter_cache_hits_total'))} + ${sum(rate('rafter_cache_misses_total'))})`,
        ],
      ],
      'Chunks that reads found on the local disk, of those that rafter was asked for.',
    ),
    lines(
      'How long chunks were waited for',
      's',
      quantiles('rafter_cache_wait_seconds'),
      'Chunks that were not here, until the last one of a read had come.',
    ),
  ],
  'What is fetched': [
    lines(
      'Bytes by class',
      'Bps',
      [['{{class}}', sum(rate('rafter_fetched_bytes_total'), 'class')]],
      'Demand is what somebody waits for.',
    ),
    lines(
      'Requests by class',
      'reqps',
      [['{{class}}', sum(rate('rafter_fetch_requests_total'), 'class')]],
      'Range requests.',
    ),
    lines(
      'Bytes by source',
      'Bps',
      [['{{from}}', sum(rate('rafter_source_bytes_total'), 'from')]],
      'From registries and mirrors, and through Dragonfly.',
    ),
    lines(
      'How long requests took',
      's',
      quantiles('rafter_fetch_duration_seconds'),
      'Those that succeeded, failed attempts included.',
    ),
    lines(
      'Failed and repeated requests',
      'ops',
      [
        ['{{code}}', sum(rate('rafter_fetch_errors_total'), 'code')],
        ['made again: damaged data', sum(rate('rafter_fetch_refetches_total'))],
        ['damaged chunks', sum(rate('rafter_fetch_decode_errors_total'))],
      ],
      'By the code of the error.',
    ),
    lines(
      'Dragonfly peers set aside',
      'ops',
      [['{{reason}}', sum(rate('rafter_p2p_failures_total'), 'reason')]],
      'Reads went to the registry meanwhile.',
    ),
  ],
  'The cache': [
    lines(
      'Size and limit',
      'bytes',
      [
        ['{{instance}}', gauge('rafter_cache_size_bytes')],
        ['limit of {{instance}}', gauge('rafter_cache_limit_bytes')],
      ],
      'Without cache-size there is no limit.',
    ),
    lines(
      'Chunks that went or were not kept',
      'ops',
      [
        ['gave way', sum(rate('rafter_cache_evicted_chunks_total'))],
        ['not kept: no room', sum(rate('rafter_cache_unkept_chunks_total'))],
        ['damaged on disk', sum(rate('rafter_cache_dropped_chunks_total'))],
        ['failed writes', sum(rate('rafter_cache_write_errors_total'))],
      ],
      'Many that gave way: the limit is too small for what is used.',
    ),
    lines('Written', 'Bps', [['{{instance}}', rate('rafter_cache_stored_bytes_total')]], 'Decoded bytes.'),
    lines(
      'Mounted images',
      'short',
      [['{{driver}} {{transport}}', sum(gauge('rafter_mounts'), 'driver, transport')]],
      'By what serves them.',
    ),
  ],
  'The daemon': [
    lines(
      'Memory',
      'bytes',
      [
        ['{{instance}}', gauge('process_resident_memory_bytes')],
        ['objects of {{instance}}', gauge('nodejs_heap_size_used_bytes')],
        ['buffers of {{instance}}', gauge('nodejs_external_memory_bytes')],
      ],
      'Resident, and what of it JavaScript objects and their buffers are.',
    ),
    lines(
      'Processors',
      'percentunit',
      [['{{instance}}', rate('process_cpu_seconds_total')]],
      'As a share of one.',
    ),
    lines(
      'Age',
      's',
      [['{{instance}}', `time() - ${gauge('process_start_time_seconds')}`]],
      'A step down is an upgrade, or a daemon that died.',
    ),
    lines(
      'API requests with an error',
      'ops',
      [['{{code}}', sum(rate('rafter_api_errors_total'), 'code')]],
      'By the code of the error.',
    ),
  ],
};

function stat(title, unit, expression, description, redFrom) {
  return { type: 'stat', title, unit, targets: [['', expression]], description, redFrom };
}

function lines(title, unit, targets, description) {
  return { type: 'timeseries', title, unit, targets, description };
}

/** The dashboard, as Grafana imports it. */
export function makeDashboard() {
  const panels = [];
  let y = 0;
  for (const [title, section] of Object.entries(SECTIONS)) {
    panels.push({
      type: 'row',
      title,
      collapsed: false,
      panels: [],
      gridPos: { x: 0, y, w: COLUMNS, h: HEIGHT.row },
    });
    y += HEIGHT.row;
    const [{ type }] = section;
    const perLine = type === 'stat' ? section.length : 2;
    for (const [i, panel] of section.entries()) {
      const place = { x: (i % perLine) * (COLUMNS / perLine), y, w: COLUMNS / perLine, h: HEIGHT[type] };
      panels.push({ ...drawPanel(panel), gridPos: place });
      if (i % perLine === perLine - 1 || i === section.length - 1) y += HEIGHT[type];
    }
  }
  return {
    title: 'rafter',
    description: 'Lazily mounted images: what readers wait for, what is fetched, the cache.',
    uid: 'rafter',
    tags: ['rafter', 'containers'],
    schemaVersion: 39,
    editable: true,
    refresh: '30s',
    time: { from: 'now-3h', to: 'now' },
    templating: { list: VARIABLES },
    panels: panels.map((panel, i) => ({ id: i + 1, ...panel })),
  };
}

function drawPanel({ type, title, unit, targets, description, redFrom }) {
  const steps = [{ color: 'green', value: null }, ...(redFrom ? [{ color: 'red', value: redFrom }] : [])];
  return {
    type,
    title,
    description,
    datasource: DATASOURCE,
    fieldConfig: {
      defaults: {
        unit,
        min: 0,
        ...(type === 'stat' && { noValue: '0', thresholds: { mode: 'absolute', steps } }),
      },
      overrides: [],
    },
    options:
      type === 'stat'
        ? { colorMode: 'value', graphMode: 'area', reduceOptions: { calcs: ['lastNotNull'] } }
        : { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } },
    targets: targets.map(([legendFormat, expr], i) => ({
      refId: String.fromCharCode('A'.charCodeAt(0) + i),
      datasource: DATASOURCE,
      expr,
      legendFormat,
    })),
  };
}

const VARIABLES = [
  { name: 'datasource', label: 'Prometheus', type: 'datasource', query: 'prometheus' },
  ...['job', 'instance'].map((name) => ({
    name,
    label: name,
    type: 'query',
    datasource: DATASOURCE,
    query: {
      qryType: 1,
      query: `label_values(rafter_build_info${name === 'instance' ? '{job=~"$job"}' : ''}, ${name})`,
      refId: name,
    },
    refresh: 2,
    includeAll: true,
    multi: true,
    current: { text: ['All'], value: ['$__all'] },
  })),
];
