import { RafterError } from '../errors.js';

interface Room {
  take(size: number): Buffer;
}

/** Takes exactly as many bytes of a stream as are asked for. */
export interface ByteTaker {
  /** The next `length` bytes, in what `room` gives if they came in parts. TRUNCATED if the stream ends before; else what the stream throws. */
  take(length: number, room?: Room): Promise<Buffer>;
  /** Reads to the end of the stream, where it may say that it was damaged. MALFORMED if there are bytes that nobody took. */
  finish(): Promise<void>;
  /** Ends the stream. */
  end(): Promise<void>;
}

/** A taker of `stream`, called `name` in messages. What is asked for ends up in memory: the caller bounds it. */
export function byteTaker(stream: AsyncIterable<Buffer>, name: string): ByteTaker {
  const iterator = stream[Symbol.asyncIterator]();
  let rest: Buffer = Buffer.alloc(0);
  let taken = 0;

  return {
    async take(length, room) {
      const parts: Buffer[] = [];
      let missing = length;
      while (missing > 0) {
        if (rest.length === 0) {
          const next = await iterator.next();
          if (next.done)
            throw new RafterError('TRUNCATED', `${name}: ends at byte ${taken + length - missing}`);
          rest = next.value;
        }
        const part = rest.subarray(0, missing);
        rest = rest.subarray(part.length);
        missing -= part.length;
        parts.push(part);
      }
      taken += length;
      return parts.length === 1 ? parts[0]! : joined(parts, room?.take(length) ?? Buffer.allocUnsafe(length));
    },

    async finish() {
      const isDone = (bytes: Buffer) => bytes.length === 0;
      let isLeft = !isDone(rest);
      for (let next = await iterator.next(); !next.done; next = await iterator.next())
        isLeft ||= !isDone(next.value);
      if (isLeft) throw new RafterError('MALFORMED', `${name}: has more than ${taken} bytes`);
    },

    async end() {
      await iterator.return?.();
    },
  };
}

function joined(parts: readonly Buffer[], target: Buffer): Buffer {
  let done = 0;
  for (const part of parts) done += part.copy(target, done);
  return target;
}
