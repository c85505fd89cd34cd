import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { mountImage } from '../../../src/mount/client/client.js';
import { METRICS } from '../../../src/mount/daemon/metrics.js';
import { METRICS_TYPE } from '../../../src/mount/metrics-text.js';
import { parseMetrics } from '../../support/prometheus.js';
import { createPlace, readEverything, type TestPlace } from '../daemon-process.js';
import { writeGoldenLayout } from '../layouts.js';

let place: TestPlace;
beforeEach(() => {
  place = createPlace({ supervised: true, options: ['--metrics', '0', '--cache-size', '1G'] });
});
afterEach(() => place.remove());

function get(where: { socketPath: string } | { host: string; port: number }, path = '/metrics') {
  return new Promise<{ status: number; type: string; body: string }>((resolve, reject) => {
    request({ ...where, path, agent: false }, async (response) => {
      const type = response.headers['content-type']!;
      resolve({ status: response.statusCode!, type, body: await text(response) });
    })
      .on('error', reject)
      .end();
  });
}

/** Where the daemon says that it offers metrics. */
async function tcpAddress(): Promise<{ host: string; port: number }> {
  const log = (await readFile(join(place.runDir, 'daemon.log'), 'utf8')).trim().split('\n');
  const { address } = log
    .map((line) => JSON.parse(line))
    .find(({ message }) => message === 'offering metrics');
  const [host, port] = address.split(':');
  return { host, port: Number(port) };
}

it('counts what readers of a mount cause, on the socket and over TCP', async () => {
  await writeGoldenLayout('small', join(place.dir, 'layout'));
  const mountpoint = await place.mountpoint('m');
  await mountImage(place, { reference: `oci:${place.dir}/layout:latest`, mountpoint });
  await readEverything(mountpoint);
  const { status, type, body } = await get({ socketPath: join(place.runDir, 'rafter.sock') });
  expect([status, type]).toEqual([200, METRICS_TYPE]);
  const metrics = parseMetrics(body);
  const total = (name: string) => metrics.get(name)!.samples.reduce((sum, { value }) => sum + value, 0);
  expect(metrics.get('rafter_mounts')!.samples[0]).toMatchObject({ labels: { driver: 'erofs' }, value: 1 });
  expect(total('rafter_cache_misses_total')).toBeGreaterThan(0);
  expect(total('rafter_fetched_bytes_total')).toBeGreaterThan(1000);
  expect(total('rafter_cache_size_bytes')).toBeGreaterThan(1000);
  const count = (name: string) => metrics.get(name)!.samples.at(-1)!.value;
  expect(count('rafter_fetch_duration_seconds')).toBe(total('rafter_fetch_requests_total'));
  expect(count('rafter_read_wait_seconds')).toBeGreaterThan(0);

  // The dashboard shows what a real daemon offers; labels such as the code of an error come with the first one.
  const dashboard = await readFile(resolve(import.meta.dirname, '../../../docs/grafana.json'), 'utf8');
  const shown = new Set(dashboard.match(/\b(?:rafter|process|nodejs)_[a-z0-9_]+(?=\{)/g));
  const series = [...metrics.values()].flatMap(({ samples }) => samples.map((sample) => sample.name));
  const labelled = METRICS.filter(({ labels = [] }) => labels.length > 0).map((metric) => metric.name);
  expect([...shown].filter((name) => ![...series, ...labelled].includes(name))).toEqual([]);
  expect([...shown].filter((name) => series.includes(name)).length).toBeGreaterThan(20);

  const tcp = await tcpAddress();
  expect(tcp.host).toBe('127.0.0.1');
  const again = await get(tcp);
  expect([again.status, again.type]).toEqual([200, METRICS_TYPE]);
  expect([...parseMetrics(again.body).keys()]).toEqual([...metrics.keys()]);
  expect((await get(tcp, '/v1/status')).status).toBe(404);
});
