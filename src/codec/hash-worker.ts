import { createHash, type Hash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';

/** What a `HashThread` sends to its thread. `id` names a running hash. */
export type HashRequest = { id: number } & (
  | { kind: 'open'; algorithm: 'sha256' | 'sha512'; slots: Uint8Array[] }
  /** The next `size` bytes of the data are in a slot. */
  | { kind: 'bytes'; slot: number; size: number }
  /** No more bytes will come. */
  | { kind: 'end' }
  /** Nobody wants the hash any more: there will be no further answer. */
  | { kind: 'drop' }
);

/** Answers `bytes`, with an empty `hex`, and `end`, with the digest; in the order in which they were asked. */
export interface HashAnswer {
  id: number;
  hex: string;
}

const running = new Map<number, { hash: Hash; slots: Uint8Array[] }>();

parentPort!.on('message', (request: HashRequest) => {
  const { id } = request;
  if (request.kind === 'open') {
    running.set(id, { hash: createHash(request.algorithm), slots: request.slots });
    return;
  }
  const one = running.get(id);
  if (request.kind === 'drop') running.delete(id);
  if (one === undefined || request.kind === 'drop') return;
  if (request.kind === 'bytes') one.hash.update(one.slots[request.slot]!.subarray(0, request.size));
  const hex = request.kind === 'end' ? one.hash.digest('hex') : '';
  parentPort!.postMessage({ id, hex } satisfies HashAnswer);
});
