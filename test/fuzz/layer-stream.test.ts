import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { compress as zstd } from 'zstd-napi';
import { decompressLayer } from '../../src/codec/decompress-stream.js';
import { inPieces } from '../convert/read-all.js';
import { fuzz } from '../support/fuzz.js';
import { mutate, pick } from '../support/mutate.js';
import { goldenTars } from '../support/tar-samples.js';

/** What comes out of a few kilobytes is not looked at beyond this. */
const OUTPUT_CAP = 64 << 20;
const tars = goldenTars().map(({ tar }) => tar);

function fuzzStreams(title: string, streams: Buffer[]): void {
  fuzz(title, {
    name: 'layer 1',
    run: async (next) => {
      const bytes = mutate(pick(streams, next), next);
      const source = Readable.from(inPieces(bytes, pick([1 << 20, 4096, 700], next)), { objectMode: false });
      const { tar } = await decompressLayer(source, 'layer 1');
      let size = 0;
      for await (const piece of tar as AsyncIterable<Buffer>) {
        size += piece.length;
        if (size > OUTPUT_CAP) break;
      }
    },
  });
}

const halves = (compress: (bytes: Buffer) => Buffer) => (tar: Buffer) =>
  Buffer.concat([compress(tar.subarray(0, 1000)), compress(tar.subarray(1000))]);
const gzip = (bytes: Buffer) => gzipSync(bytes);
const zstandard = (bytes: Buffer) => zstd(bytes);

fuzzStreams('damaged gzip streams', [...tars.map(gzip), ...tars.slice(0, 2).map(halves(gzip))]);
fuzzStreams('damaged zstd streams', [...tars.map(zstandard), ...tars.slice(0, 2).map(halves(zstandard))]);
