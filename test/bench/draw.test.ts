import { describe, expect, it } from 'vitest';
import { elementsOf, parseXml, textOf, type XmlElement } from '../support/xml.js';
import { compare } from './comparison.mjs';
import { drawComparisons } from './draw.mjs';

const rows = (figures: Record<string, number>[]) =>
  figures.map((each, i) => ({ name: `<way> & "${i}"`, ours: i === 1, figures: each }));
const comparisons = [
  compare({
    title: 'near',
    reference: '<way> & "0"',
    rows: rows([
      { seconds: 8, bytes: 9e6 },
      { seconds: 2, bytes: 18e6 },
    ]),
  }),
  compare({ title: 'far', reference: '<way> & "0"', rows: rows([{ seconds: 0.02 }]) }),
  compare({ title: 'memory', rows: rows([{ resident: 5e6 }, { resident: 50e6 }, { resident: 20e6 }]) }),
];
const picture = { title: 'Start', about: 'less is better', foot: 'here & now', comparisons };

const numberOf = (element: XmlElement, name: string) => Number(element.attributes[name]);
const bars = (panel: XmlElement) => elementsOf(panel, 'rect');
const texts = (panel: XmlElement, name: string) =>
  elementsOf(panel, 'text').filter((text) => text.attributes.class!.split(' ').includes(name));

describe('a picture of comparisons', () => {
  const svg = parseXml(drawComparisons(picture));
  const panels = elementsOf(svg, 'g');

  it('is one SVG document with a title, and a panel for each comparison', () => {
    expect(svg.name).toBe('svg');
    expect(textOf(elementsOf(svg, 'title')[0]!)).toBe('Start');
    expect(panels.map((panel) => textOf(texts(panel, 'panel')[0]!))).toEqual(['near', 'far', 'memory']);
  });

  it('has bars as long as the first figures, the longest of each panel equally long', () => {
    const widths = panels.map((panel) => bars(panel).map((bar) => numberOf(bar, 'width')));
    const longest = widths[0]![0]!;
    expect(longest).toBeGreaterThan(100);
    const expected = [[longest, longest / 4], [longest], [longest / 10, longest, (longest * 2) / 5]];
    for (const [i, panel] of widths.entries())
      for (const [j, width] of panel.entries()) expect(width).toBeCloseTo(expected[i]![j]!, 0);
  });

  it('names every bar at its left and tells figure and ratio at its end, at its height', () => {
    for (const panel of panels) {
      const names = texts(panel, 'name');
      const values = texts(panel, 'value');
      expect(names.map(textOf)).toEqual(bars(panel).map((_, i) => `<way> & "${i}"`));
      for (const [i, bar] of bars(panel).entries()) {
        const [x, y, width, height] = ['x', 'y', 'width', 'height'].map((name) => numberOf(bar, name)) as [
          number,
          number,
          number,
          number,
        ];
        expect(numberOf(names[i]!, 'x')).toBeLessThan(x);
        expect(numberOf(values[i]!, 'x')).toBeCloseTo(x + width + 6, 0);
        for (const text of [names[i]!, values[i]!]) {
          expect(numberOf(text, 'y')).toBeGreaterThan(y);
          expect(numberOf(text, 'y')).toBeLessThan(y + height);
        }
      }
    }
    expect(panels.map((panel) => texts(panel, 'value').map(textOf))).toEqual([
      ['8.00 s', '2.00 s 0.25'],
      ['0.020 s'],
      ['5.0 MB', '50.0 MB', '20.0 MB'],
    ]);
  });

  it('tells by colour what is rafter and what the reference', () => {
    expect(panels.map((panel) => bars(panel).map((bar) => bar.attributes.class))).toEqual([
      ['reference', 'ours'],
      ['reference'],
      ['other', 'ours', 'other'],
    ]);
    const style = textOf(elementsOf(svg, 'style')[0]!);
    const [light, dark] = style.split('@media (prefers-color-scheme: dark)');
    for (const name of ['ours', 'reference', 'other', 'back', 'name', 'own', 'dim']) {
      expect(light).toContain(`.${name} {`.replace('.name {', '.name, '));
      expect(dark).toContain(`.${name}`);
    }
  });

  it('draws panels side by side, and nothing outside of itself or into each other', () => {
    const [near, far, memory] = panels.map((panel) => texts(panel, 'panel')[0]!) as [
      XmlElement,
      XmlElement,
      XmlElement,
    ];
    expect(numberOf(near, 'y')).toBe(numberOf(far, 'y'));
    expect(numberOf(memory, 'x')).toBe(numberOf(near, 'x'));
    const bottom = (panel: XmlElement) =>
      Math.max(...bars(panel).map((bar) => numberOf(bar, 'y') + numberOf(bar, 'height')));
    expect(numberOf(memory, 'y')).toBeGreaterThan(bottom(panels[0]!) + 10);
    expect(bottom(panels[2]!)).toBeLessThan(numberOf(svg, 'height') - 30);
    const right = bars(panels[1]!).map((bar) => numberOf(bar, 'x') + numberOf(bar, 'width'));
    expect(Math.max(...right)).toBeLessThan(numberOf(svg, 'width') - 80);
  });
});
