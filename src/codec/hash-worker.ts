import { createHash, type Hash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';

/** What a `HashThread` sends to its thread. `id` names a running hash. */
export type HashRequest =
  | { kind: 'start'; id: number; algorithm: 'sha256' | 'sha512' }
  /** Answered with `{ id }` as soon as the memory of `bytes` may be used again. */
  | { kind: 'update'; id: number; bytes: Uint8Array }
  /** Answered with `{ id, hex }`. */
  | { kind: 'digest'; id: number }
  | { kind: 'drop'; id: number };

export interface HashAnswer {
  id: number;
  hex?: string;
}

const running = new Map<number, Hash>();

parentPort!.on('message', (request: HashRequest) => {
  const { id } = request;
  switch (request.kind) {
    case 'start':
      running.set(id, createHash(request.algorithm));
      return;
    case 'update':
      running.get(id)!.update(request.bytes);
      return answer({ id });
    case 'digest':
      answer({ id, hex: running.get(id)!.digest('hex') });
      running.delete(id);
      return;
    case 'drop':
      running.delete(id);
  }
});

function answer(message: HashAnswer): void {
  parentPort!.postMessage(message);
}
