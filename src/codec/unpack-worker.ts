import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { parentPort } from 'node:worker_threads';
import { type ErrorCode, isRafterError, messageOf } from '../errors.js';
import { decompressLayer } from './decompress-stream.js';
import { Mailbox } from './mailbox.js';

/** What an `UnpackThread` sends to its thread. `id` names a layer. */
export type UnpackRequest = { id: number } & (
  | { kind: 'open'; name: string; algorithm: 'sha256' | 'sha512'; slots: Uint8Array[] }
  /** Compressed bytes, of at least one; answered with `taken`. */
  | { kind: 'input'; bytes: Uint8Array }
  /** No more bytes will come. */
  | { kind: 'end' }
  /** A slot may be filled again. */
  | { kind: 'free'; slot: number }
  /** Nobody wants the layer any more: there will be no further answer. */
  | { kind: 'drop' }
);

export type UnpackAnswer = { id: number } & (
  | { kind: 'taken' }
  /** The next `size` bytes of the tar are in a slot. */
  | { kind: 'output'; slot: number; size: number }
  /** The tar has ended; its digest. */
  | { kind: 'done'; hex: string }
  | { kind: 'failed'; code: ErrorCode | undefined; message: string; hint: string | undefined }
);

interface Layer {
  inputs: Mailbox<Buffer>;
  free: Mailbox<number>;
  dropped: boolean;
}

const END = Buffer.alloc(0);
const layers = new Map<number, Layer>();

parentPort!.on('message', (request: UnpackRequest) => {
  const { id } = request;
  if (request.kind === 'open') {
    const layer = { inputs: new Mailbox<Buffer>(), free: new Mailbox<number>(), dropped: false };
    layers.set(id, layer);
    unpack(layer, request).catch((error: unknown) => fail(id, layer, error));
    return;
  }
  const layer = layers.get(id);
  if (layer === undefined) return;
  switch (request.kind) {
    case 'input':
      return layer.inputs.put(asBuffer(request.bytes));
    case 'end':
      return layer.inputs.put(END);
    case 'free':
      return layer.free.put(request.slot);
    case 'drop':
      layers.delete(id);
      layer.dropped = true;
      layer.inputs.put(END);
      layer.free.put(0);
  }
});

async function unpack(layer: Layer, request: UnpackRequest & { kind: 'open' }): Promise<void> {
  const { id, name, algorithm } = request;
  const slots = request.slots.map(asBuffer);
  for (const slot of slots.keys()) layer.free.put(slot);
  const hash = createHash(algorithm);
  const { tar } = await decompressLayer(Readable.from(inputsOf(id, layer), { objectMode: false }), name);
  let slot: number | undefined;
  let used = 0;
  for await (const piece of tar as AsyncIterable<Buffer>) {
    hash.update(piece);
    for (let at = 0; at < piece.length; ) {
      slot ??= await layer.free.take();
      if (layer.dropped) return;
      const copied = piece.copy(slots[slot]!, used, at);
      at += copied;
      used += copied;
      if (used < slots[slot]!.length) continue;
      answer({ id, kind: 'output', slot, size: used });
      slot = undefined;
      used = 0;
    }
  }
  if (layer.dropped) return;
  if (slot !== undefined) answer({ id, kind: 'output', slot, size: used });
  answer({ id, kind: 'done', hex: hash.digest('hex') });
}

async function* inputsOf(id: number, { inputs }: Layer): AsyncGenerator<Buffer> {
  for (let bytes = await inputs.take(); bytes !== END; bytes = await inputs.take()) {
    answer({ id, kind: 'taken' });
    yield bytes;
  }
}

function fail(id: number, layer: Layer, error: unknown): void {
  if (layer.dropped) return;
  const { code, hint } = isRafterError(error) ? error : { code: undefined, hint: undefined };
  answer({ id, kind: 'failed', code, message: messageOf(error), hint });
}

function asBuffer({ buffer, byteOffset, length }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, length);
}

function answer(message: UnpackAnswer): void {
  parentPort!.postMessage(message);
}
