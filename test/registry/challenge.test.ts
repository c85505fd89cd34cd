import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { parseChallenges } from '../../src/registry/challenge.js';

const parse = (header: string | string[] | undefined) =>
  parseChallenges(header).map(({ scheme, params }) => ({ scheme, ...Object.fromEntries(params) }));

it.each([
  ['Basic realm="x"', [{ scheme: 'basic', realm: 'x' }]],
  ['BASIC', [{ scheme: 'basic' }]],
  [
    'Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push"',
    [
      {
        scheme: 'bearer',
        realm: 'https://auth.example/token',
        service: 'reg',
        scope: 'repository:a/b:pull,push',
      },
    ],
  ],
  ['bearer REALM = "r" , service=s', [{ scheme: 'bearer', realm: 'r', service: 's' }]],
  [
    'Bearer realm=https://zot.example/token,service=zot',
    [{ scheme: 'bearer', realm: 'https://zot.example/token', service: 'zot' }],
  ],
  ['Negotiate, Basic realm="x"', [{ scheme: 'negotiate' }, { scheme: 'basic', realm: 'x' }]],
  [
    'Basic realm="a, b", Bearer realm="c"',
    [
      { scheme: 'basic', realm: 'a, b' },
      { scheme: 'bearer', realm: 'c' },
    ],
  ],
  ['Basic realm="say \\"hi\\" \\\\"', [{ scheme: 'basic', realm: 'say "hi" \\' }]],
  ['Bearer realm="a",realm="b"', [{ scheme: 'bearer', realm: 'a' }]],
  ['Bearer realm="",x=1,unknown="y"', [{ scheme: 'bearer', realm: '', x: '1', unknown: 'y' }]],
  [',, Basic realm="x",,', [{ scheme: 'basic', realm: 'x' }]],
  ['', []],
  ['"nonsense"', []],
  ['Bearer realm="never closed', [{ scheme: 'bearer', realm: '' }]],
])('%s', (header, expected) => {
  expect(parse(header)).toMatchObject(expected);
  expect(parse(header)).toHaveLength(expected.length);
});

it('takes several headers and none', () => {
  expect(parse(['Bearer realm="a"', 'Basic realm="b"'])).toMatchObject([
    { scheme: 'bearer' },
    { scheme: 'basic' },
  ]);
  expect(parse(undefined)).toEqual([]);
});

it('ends on any text, in time that grows with its length only', () => {
  fc.assert(fc.property(fc.string({ maxLength: 200 }), (text) => void parse(text)));
  for (const text of ['"\\'.repeat(8000), ', '.repeat(8000), 'a='.repeat(8000), 'a '.repeat(8000)]) {
    const start = performance.now();
    parse(`Basic x="${text}`);
    parse(text);
    expect(performance.now() - start).toBeLessThan(3_000);
  }
});
