import { inPieces, READERS, type Reader } from '../convert/read-all.js';
import { fuzz } from '../support/fuzz.js';
import { pick } from '../support/mutate.js';
import {
  damagedTar,
  extendedTars,
  goldenTars,
  layerTar,
  pieceSize,
  type TarSample,
} from '../support/tar-samples.js';

/** Bytes of holes and content that are read of one entry. */
const ENTRY_CAP = 1 << 20;

function fuzzTars(title: string, reader: Reader, samples: TarSample[]): void {
  fuzz(`${title}, with ${reader}`, {
    name: 'layer 1',
    run: async (next) => {
      const tar = damagedTar(pick(samples, next), next);
      const reads = next(4) > 0;
      for await (const { body, size } of READERS[reader](inPieces(tar, pieceSize(next)), 'layer 1')) {
        if (reads) await readBody(body, size);
      }
    },
  });
}

/** Reads a body as far as the cap. It has `size` bytes, whatever the damage. */
async function readBody(body: AsyncIterable<Buffer>, size: number): Promise<void> {
  let read = 0;
  for await (const piece of body) {
    read += piece.length;
    if (read > size) throw new Error(`${read} bytes of an entry of ${size}`);
    if (read > ENTRY_CAP) return;
  }
  if (read !== size) throw new Error(`${read} bytes of an entry of ${size}`);
}

for (const reader of ['readTar', 'scanTar'] as const) {
  fuzzTars('damaged tars of several tools', reader, [...goldenTars(), layerTar()]);
  fuzzTars('damaged sparse maps, PAX records and long names', reader, extendedTars());
}
