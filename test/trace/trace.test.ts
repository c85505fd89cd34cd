import { describe, expect, it } from 'vitest';
import { formatTrace, MAX_TOUCHES, MAX_TRACE_SIZE, parseTrace, type Trace } from '../../src/trace/trace.js';
import { traceOf } from './traces.js';

const NAME = 'run.trace';
const sample: Trace = {
  ...traceOf([
    { blob: 1, offset: 8192, length: 4096, atMs: 1.25, waitedMs: 0, from: 'local' },
    { blob: 0, offset: 0, length: 131_072, atMs: 2.5, waitedMs: 20.125, from: 'fetch' },
    { blob: 0, offset: 131_072, length: 100, atMs: 2.5, waitedMs: 3, from: 'startup' },
  ]),
  readAheadKiB: 16,
  command: ['python3', '-c', 'print("é\n")'],
};

const lines = (trace: Trace = sample) => formatTrace(trace).toString().trimEnd().split('\n');
const parse = (...text: string[]) => parseTrace(Buffer.from(text.map((line) => `${line}\n`).join('')), NAME);
const [header, ...touches] = lines();
const end = touches.pop()!;

describe('a trace as a file', () => {
  it('is a header, a short line for each touch, and their number', () => {
    expect(JSON.parse(header!)).toMatchObject({ rafterTrace: 1, driver: 'erofs', readAheadKiB: 16 });
    expect(touches[1]).toBe('[0,0,131072,2.5,20.125,"fetch"]');
    expect(end).toBe('{"touches":3}');
  });

  it('is read as it was written', () => {
    expect(parseTrace(formatTrace(sample), NAME)).toEqual(sample);
    const least = traceOf([]);
    expect(parseTrace(formatTrace(least), NAME)).toEqual(least);
  });

  it('has times to the microsecond', () => {
    const touch = {
      blob: 0,
      offset: 0,
      length: 1,
      atMs: 1.2345678,
      waitedMs: 0.0004,
      from: 'local' as const,
    };
    const [read] = parseTrace(formatTrace(traceOf([touch])), NAME).touches;
    expect(read).toMatchObject({ atMs: 1.235, waitedMs: 0 });
  });
});

describe('a file that is no trace', () => {
  const wrong: [what: string, text: string[], code: string, message: string][] = [
    ['nothing', [], 'MALFORMED', `${NAME}: not a trace: it is empty`],
    ['another file', ['# Title'], 'MALFORMED', `${NAME}, line 1: not JSON`],
    ['other JSON', ['{"a":1}'], 'MALFORMED', `${NAME}, line 1: not the header of a trace`],
    ['another version', ['{"rafterTrace":2}'], 'UNSUPPORTED', 'line 1: a trace of version 2'],
    ['no blobs', [header!.replace(/"blobs":\[[^\]]*\]/, '"blobs":[]')], 'MALFORMED', 'line 1: blobs'],
    [
      'a wrong digest',
      [header!.replace('sha256:', 'md5:')],
      'MALFORMED',
      'line 1: manifest: is not a digest',
    ],
    ['an unknown member', [header!.replace('{', '{"x":1,')], 'MALFORMED', 'line 1: x'],
    ['a cut line', [header!, touches[0]!.slice(0, -4)], 'MALFORMED', 'line 2: not JSON'],
    ['no last line', [header!, ...touches], 'TRUNCATED', 'ends after line 4'],
    [
      'a lost line',
      [header!, touches[0]!, touches[2]!, end],
      'MALFORMED',
      'line 4: says 3 touches, and 2 are there',
    ],
    ['something behind', [header!, ...touches, end, end], 'MALFORMED', 'line 5: another line behind'],
    ['an empty line', [header!, '', end], 'MALFORMED', 'line 2: not JSON'],
    ['an unknown blob', [header!, '[2,0,1,0,0,"local"]'], 'MALFORMED', 'line 2: blob 2'],
    ['a negative offset', [header!, '[0,-4096,1,0,0,"local"]'], 'MALFORMED', 'line 2: 1:'],
    ['half a page', [header!, '[0,100,1,0,0,"local"]'], 'MALFORMED', 'line 2: 1:'],
    ['no bytes', [header!, '[0,0,0,0,0,"local"]'], 'MALFORMED', 'line 2: 2:'],
    ['a time that is none', [header!, '[0,0,1,"now",0,"local"]'], 'MALFORMED', 'line 2: 3:'],
    ['an unknown source', [header!, '[0,0,1,0,0,"disk"]'], 'MALFORMED', 'line 2: 5:'],
    ['a member too many', [header!, '[0,0,1,0,0,"local",1]'], 'MALFORMED', 'line 2: 6:'],
    [
      'a range twice',
      [header!, '[0,4096,4096,0,0,"local"]', '[0,0,4097,0,0,"local"]', '{"touches":2}'],
      'MALFORMED',
      `${NAME}, line 3: touches blob 0 at 4096, which ${NAME}, line 2 has touched already`,
    ],
  ];
  it.each(wrong)('%s', (_what, text, code, message) => {
    expect(() => parse(...text)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(message) }),
    );
  });

  it('has a limit of bytes', () => {
    const large = Buffer.alloc(MAX_TRACE_SIZE + 1);
    expect(() => parseTrace(large, NAME)).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }));
    expect(() => parseTrace(large.subarray(1), NAME)).toThrow(
      expect.objectContaining({ code: 'LIMIT_EXCEEDED', message: expect.stringContaining('line 1') }),
    );
  });

  it('has a limit of touches', () => {
    const touch = { blob: 0, offset: 0, length: 1, atMs: 0, waitedMs: 0, from: 'local' as const };
    const touches = Array.from({ length: MAX_TOUCHES }, (_, i) => ({ ...touch, offset: i * 4096 }));
    const most = formatTrace(traceOf(touches));
    expect(() => formatTrace(traceOf([...touches, touch]))).toThrow(`more than ${MAX_TOUCHES} touches`);
    // Everything up to the limit is taken, and the next line refused.
    const another = Buffer.concat([
      most.subarray(0, most.lastIndexOf('{"touches"')),
      Buffer.from('[1,0,1,0,0,"local"]\n'),
    ]);
    const message = `${NAME}, line ${MAX_TOUCHES + 2}: more than ${MAX_TOUCHES} touches`;
    expect(() => parseTrace(another, NAME)).toThrow(
      expect.objectContaining({ code: 'LIMIT_EXCEEDED', message }),
    );
  });
});
