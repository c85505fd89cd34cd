import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { expect, it } from 'vitest';

/** From the top of the house to its foundation: a folder imports only from folders that stand behind it here. */
const floors = [
  'cli',
  'preheat',
  'export',
  'inspect',
  'optimize',
  'convert',
  'run',
  'mount',
  'cache',
  'startup',
  'trace',
  'transports',
  'registry',
  'image',
  'rafs',
  'codec',
  'fuse',
  'os',
  'errors.ts',
];
/** Pure bytes: these read and write no files and no sockets. */
const pure = ['rafs', 'codec', 'startup', 'trace'];

const src = resolve(import.meta.dirname, '../src');
const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
const importsOf = (file: string) =>
  [...readFileSync(join(src, file), 'utf8').matchAll(/(?:\bfrom |\bimport\(?\s*)'([^'\n]+)'/g)].map(
    (m) => m[1]!,
  );
const floorOf = (file: string) => file.split('/')[0]!;

it('every file stands on a known floor', () => {
  expect([...new Set(files.map(floorOf))].filter((floor) => !floors.includes(floor))).toEqual([]);
});

it('the picture in docs/development.md shows the floors, and the house has each', () => {
  const text = readFileSync(join(src, '../docs/development.md'), 'utf8');
  const picture = text.split('\n## The house\n')[1]!.split('```')[1]!.trim();
  expect(picture.split('\n').map((line) => line.split(' ')[0])).toEqual(floors);
  expect(floors.filter((floor) => !files.map(floorOf).includes(floor))).toEqual([]);
});

it('imports go down only', () => {
  const wrong: string[] = [];
  for (const file of files) {
    for (const target of importsOf(file).filter((name) => name.startsWith('.'))) {
      const to = relative(src, resolve(src, file, '..', target)).replace(/\.js$/, '.ts');
      if (to.startsWith('..')) wrong.push(`${file} -> ${target}`);
      else if (
        floorOf(to) !== floorOf(file) &&
        floors.indexOf(floorOf(to)) <= floors.indexOf(floorOf(file))
      ) {
        wrong.push(`${file} -> ${to}`);
      }
    }
  }
  expect(wrong).toEqual([]);
});

it('the format and the codecs do no input or output', () => {
  const forbidden = /^(node:)?(fs|net|http|https|tls|dgram|child_process)(\/|$)|^undici$/;
  const wrong = files
    .filter((file) => pure.includes(floorOf(file)))
    .flatMap((file) =>
      importsOf(file)
        .filter((name) => forbidden.test(name))
        .map((name) => `${file}: ${name}`),
    );
  expect(wrong).toEqual([]);
});
