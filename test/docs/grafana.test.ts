import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { METRICS } from '../../src/mount/daemon/metrics.js';

interface Panel {
  id: number;
  type: string;
  title: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets?: { refId: string; expr: string; legendFormat: string }[];
}

const file = resolve(import.meta.dirname, '../../docs/grafana.json');
const dashboard = JSON.parse(readFileSync(file, 'utf8')) as {
  panels: Panel[];
  templating: { list: { name: string; query: string | { query: string } }[] };
};
const targets = dashboard.panels.flatMap((panel) => panel.targets ?? []);
const SELECTOR = /\b([a-z]+_[a-z0-9_]+)\{([^}]*)\}/g;

/** What a name in an expression is: a metric, or a series of a histogram. */
function metricOf(name: string) {
  const plain = METRICS.find((metric) => metric.name === name && metric.type !== 'histogram');
  return plain ?? METRICS.find((metric) => metric.type === 'histogram' && name === `${metric.name}_bucket`);
}

describe('the dashboard for Grafana', () => {
  it('has metrics only that the daemon has, of the machines that are chosen', () => {
    const names = new Set<string>();
    for (const { expr } of targets) {
      const found = [...expr.matchAll(SELECTOR)];
      expect(found.length, expr).toBeGreaterThan(0);
      for (const [, name, labels] of found) {
        names.add(name!);
        expect(metricOf(name!), `${name} in ${expr}`).toBeDefined();
        expect(labels).toBe('job=~"$job",instance=~"$instance"');
      }
      // Nothing else in it looks like one.
      const rest = expr.replaceAll(SELECTOR, '');
      expect(rest).not.toMatch(/rafter_|process_|nodejs_/);
    }
    expect(names.size).toBeGreaterThan(25);
    for (const { query } of dashboard.templating.list.filter(({ name }) => name !== 'datasource'))
      expect((query as { query: string }).query).toContain('label_values(rafter_build_info');
  });

  it('takes counters and histograms by their rate, and groups by labels that there are', () => {
    for (const { expr, legendFormat } of targets) {
      for (const [all, name] of expr.matchAll(SELECTOR)) {
        const metric = metricOf(name!)!;
        const before = expr.slice(0, expr.indexOf(all));
        expect(/(rate|increase)\($/.test(before), `${name} in ${expr}`).toBe(metric.type !== 'gauge');
      }
      const [, name] = /\b([a-z]+_[a-z0-9_]+)\{/.exec(expr)!;
      const metric = metricOf(name!)!;
      const known = ['instance', ...(metric.labels ?? []), ...(metric.type === 'histogram' ? ['le'] : [])];
      const groups = [...expr.matchAll(/by \(([^)]*)\)/g)].flatMap((match) => match[1]!.split(', '));
      const shown = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map((match) => match[1]!);
      for (const label of [...groups, ...shown]) expect(known, expr).toContain(label);
      if (groups.length > 0 && !groups.includes('le')) expect(groups).toEqual(shown);
      const depths = [...expr].reduce((depth, one) => depth + (one === '(' ? 1 : one === ')' ? -1 : 0), 0);
      expect(depths, expr).toBe(0);
    }
  });

  it('has panels with names of their own that do not lie upon each other', () => {
    const { panels } = dashboard;
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    for (const { gridPos, title } of panels)
      expect(gridPos.x >= 0 && gridPos.x + gridPos.w <= 24, title).toBe(true);
    for (const [i, { gridPos: a, title }] of panels.entries())
      for (const { gridPos: b, title: other } of panels.slice(i + 1)) {
        const apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
        expect(apart, `${title} and ${other}`).toBe(true);
      }
  });
});
