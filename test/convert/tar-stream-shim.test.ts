import { extract } from 'tar-stream';
import { describe, expect, it } from 'vitest';
import type { RawTarEntry } from '../../src/convert/tar-headers.js';
import { openTarStream } from '../../src/convert/tar-stream-shim.js';
import { inPieces } from './read-all.js';
import { makeTar, type TarItem } from './tar-writer.js';

/** What the shim replaces is private to tar-stream: these tests are what notices a version in which it works otherwise. */
describe('tar-stream, as the shim knows it', () => {
  it('has the methods and fields that the shim replaces and uses', () => {
    const stream = extract() as unknown as Record<string, unknown> & { _buffer: Record<string, unknown> };
    for (const method of ['_consumeHeader', '_decodeLongHeader', '_applyLongHeaders', '_continueWrite']) {
      expect(stream[method], method).toBeTypeOf('function');
    }
    expect(stream._locked).toBe(false);
    expect(stream._buffer).toMatchObject({ shifted: 0, buffered: 0 });
    expect(stream._buffer.shift).toBeTypeOf('function');
  });

  it('still ends a tar that is cut short with the message that is looked for', async () => {
    const stream = extract();
    const failed = new Promise<Error>((resolve) => stream.on('error', resolve));
    stream.end(Buffer.alloc(100));
    expect((await failed).message).toBe('Unexpected end of data');
  });

  async function rawEntries(items: TarItem[]): Promise<RawTarEntry[]> {
    const raw: RawTarEntry[] = [];
    const { extract: stream } = openTarStream('layer', (entry) => {
      raw.push(entry);
      return { packedSize: entry.header.number('size', 'layer') };
    });
    (async () => {
      for await (const piece of inPieces(makeTar(items), 300)) stream.write(piece);
      stream.end(null);
    })();
    for await (const body of stream as AsyncIterable<AsyncIterable<Buffer>>) for await (const _ of body);
    return raw;
  }

  it('gives the raw bytes of PAX values, which tar-stream decodes as UTF-8', async () => {
    const value = Buffer.from('62610072ff', 'hex');
    const [entry] = await rawEntries([{ name: 'f', data: 'x', pax: [['SCHILY.xattr.trusted.b', value]] }]);
    expect(entry!.pax).toEqual([['SCHILY.xattr.trusted.b', value]]);
  });

  it('gives each entry its own extended headers and offset', async () => {
    const entries = await rawEntries([
      { name: 'a', data: 'x', pax: [['mtime', '1']] },
      { name: 'b', data: 'y'.repeat(2000) },
      { name: 'long', type: 'L', data: 'c-long\0' },
      { name: 'c' },
    ]);
    expect(
      entries.map(({ offset, header, longName, pax }) => [
        header.path.toString(),
        longName?.toString(),
        offset,
        pax.length,
      ]),
    ).toEqual([
      ['a', undefined, 1024, 1],
      ['b', undefined, 2048, 0],
      ['c', 'c-long', 5632, 0],
    ]);
  });
});
