import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { messageOf, RafterError } from '../errors.js';
import { zstd } from './natives.js';

/** How the tar of an OCI layer is compressed. */
export type LayerCompression = 'gzip' | 'zstd' | 'none';

/** Output buffer: zlib decodes three times faster than with its 16 KiB default. Each one filled passes through several streams. */
const OUTPUT_SIZE = 512 << 10;
const MAGIC_SIZE = 4;
/**
 * Most bytes that a compressed layer may become: FREE_OUTPUT, and MAX_RATIO for each of its own. gzip cannot pack tighter than
 * 1:1032, so what one compression may hold, the other may too; zstd alone would reach 1:32000. The free part leaves room for
 * large files of zeros.
 */
export const MAX_RATIO = 1100;
export const FREE_OUTPUT = 1 << 30;

/** Tells the compression of a layer from its first bytes (fewer than four are an empty or plain layer). */
export function detectLayerCompression(head: Uint8Array): LayerCompression {
  const [a = 0, b = 0, c = 0, d = 0] = head;
  if (a === 0x1f && b === 0x8b) return 'gzip';
  const zstdFrame = a === 0x28 && b === 0xb5 && c === 0x2f && d === 0xfd;
  const skippableFrame = (a & 0xf0) === 0x50 && b === 0x2a && c === 0x4d && d === 0x18;
  return zstdFrame || skippableFrame ? 'zstd' : 'none';
}

/**
 * The tar inside a layer blob. The compression is told from the bytes, not from the media type, because registries hold
 * layers whose type is wrong. Errors of `source` come through unchanged; bytes that do not decode are MALFORMED, and a
 * stream that ends inside its compressed frame is TRUNCATED. LIMIT_EXCEEDED for more than MAX_RATIO allows. `name` is what
 * messages call the layer.
 * Destroying the result destroys `source`.
 */
export async function decompressLayer(
  source: Readable,
  name: string,
): Promise<{ tar: Readable; compression: LayerCompression }> {
  const pieces: AsyncIterator<Buffer> = source[Symbol.asyncIterator]();
  const head: Buffer[] = [];
  let size = 0;
  while (size < MAGIC_SIZE) {
    const next = await pieces.next();
    if (next.done) break;
    head.push(next.value);
    size += next.value.length;
  }
  const compression = detectLayerCompression(Buffer.concat(head));
  const stored = { size: 0 };
  const whole = counted(prepend(head, pieces), stored);
  const decoded =
    compression === 'none'
      ? whole
      : limited(compression === 'gzip' ? gunzip(whole, name) : unzstd(whole, name), stored, name);
  return {
    tar: Readable.from(decoded, { objectMode: false, highWaterMark: OUTPUT_SIZE }),
    compression,
  };
}

async function* prepend(head: Buffer[], rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield* head;
    for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}

/** Adds the bytes that passed to `count.size`. */
async function* counted(source: AsyncGenerator<Buffer>, count: { size: number }): AsyncGenerator<Buffer> {
  for await (const piece of source) {
    count.size += piece.length;
    yield piece;
  }
}

/** Ends with LIMIT_EXCEEDED when more comes out than the `stored` bytes read so far may become. */
async function* limited(
  decoded: AsyncGenerator<Buffer>,
  stored: { size: number },
  name: string,
): AsyncGenerator<Buffer> {
  let size = 0;
  for await (const piece of decoded) {
    size += piece.length;
    if (size > FREE_OUTPUT + MAX_RATIO * stored.size) {
      throw new RafterError(
        'LIMIT_EXCEEDED',
        `${name}: its first ${stored.size} bytes decompress to ${size} or more, above the limit of ${MAX_RATIO} for each and ${FREE_OUTPUT}`,
        { hint: 'if this is no attack, push the layer with gzip compression' },
      );
    }
    yield piece;
  }
}

async function* gunzip(source: AsyncGenerator<Buffer>, name: string): AsyncGenerator<Buffer> {
  const decoder = createGunzip({ chunkSize: OUTPUT_SIZE });
  const input = Readable.from(source, { objectMode: false });
  input.once('error', (error) => decoder.destroy(error));
  input.pipe(decoder);
  try {
    yield* decoder;
  } catch (error) {
    const code = (error as { code?: string }).code ?? '';
    if (code === 'Z_BUF_ERROR') throw cutShort('gzip', name, error);
    throw code.startsWith('Z_') ? damaged('gzip', name, error) : error;
  } finally {
    decoder.destroy();
    input.destroy();
  }
}

async function* unzstd(source: AsyncGenerator<Buffer>, name: string): AsyncGenerator<Buffer> {
  const context = new (zstd().DCtx)();
  let open = false;
  for await (const piece of source) {
    let rest = piece;
    for (;;) {
      const target = Buffer.allocUnsafe(OUTPUT_SIZE);
      let step: [number, number, number];
      try {
        step = context.decompressStream(target, rest);
      } catch (error) {
        throw damaged('zstd', name, error);
      }
      const [hint, produced, consumed] = step;
      if (produced > 0) yield target.subarray(0, produced);
      rest = rest.subarray(consumed);
      open = hint !== 0;
      if (rest.length === 0 && produced < target.length) break;
    }
  }
  if (open) throw cutShort('zstd', name);
}

function cutShort(compression: LayerCompression, name: string, cause?: unknown): RafterError {
  return new RafterError('TRUNCATED', `${name}: the ${compression} data ends too early`, { cause });
}

function damaged(compression: LayerCompression, name: string, cause: unknown): RafterError {
  return new RafterError('MALFORMED', `${name}: the ${compression} data is damaged: ${messageOf(cause)}`, {
    cause,
  });
}
