import { Readable } from 'node:stream';
import { gunzipSync, gzipSync } from 'node:zlib';
import { unpackBootstrapLayer } from '../../src/image/bootstrap-layer.js';
import { inPieces } from '../convert/read-all.js';
import { fixChecksum } from '../convert/tar-writer.js';
import { golden } from '../image/golden.js';
import { fuzz } from '../support/fuzz.js';
import { mutate, type Random } from '../support/mutate.js';

const tar = gunzipSync(golden('nydus-bootstrap.tar.gz'));
/** Offsets of the header blocks, and all offsets in them and in the block behind each. */
const headers = Array.from({ length: tar.length / 512 }, (_, i) => i * 512).filter(
  (at) => tar.toString('latin1', at + 257, at + 262) === 'ustar',
);
const places = headers.flatMap((at) => Array.from({ length: 600 }, (_, i) => at + i));

function damagedLayer(next: Random): Buffer {
  const damaged = mutate(tar, next, { places, unit: 512 });
  for (const at of headers) {
    if (next(8) > 0 && at + 512 <= damaged.length) fixChecksum(damaged.subarray(at, at + 512));
  }
  return next(8) === 0 ? mutate(gzipSync(damaged, { level: 1 }), next) : damaged;
}

fuzz('damaged bootstrap layers', {
  name: 'layer 3',
  run: async (next) => {
    const source = Readable.from(inPieces(damagedLayer(next), 4096), { objectMode: false });
    await unpackBootstrapLayer(source, 'layer 3');
  },
});
