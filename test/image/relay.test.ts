import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { Relay, takeAll } from '../../src/image/relay.js';

const pieces = (sizes: number[]) => sizes.map((size, i) => Buffer.alloc(size, i + 1));
/** A stream that has all its pieces, and its end, before it is read. */
const ended = (all: Buffer[]) => {
  const stream = new Readable({ highWaterMark: 1 << 30, read() {} });
  for (const piece of all) stream.push(piece);
  stream.push(null);
  return stream;
};
const gradual = (all: Buffer[]) => Readable.from(all, { objectMode: false });
const SIZES = [1, 65_536, 3, 1 << 20, 300_000, 7];

describe.each([
  ['has ended before', ended],
  ['comes piece by piece', gradual],
])('a source that %s', (_, open) => {
  it('gives every piece in order, and no other while one is taken', async () => {
    const all = pieces(SIZES);
    const taken: Buffer[] = [];
    let isBusy = false;
    await takeAll(open(all), (piece) => {
      expect(isBusy).toBe(false);
      taken.push(piece);
      if (piece.length < 10) return undefined;
      isBusy = true;
      return nextTurn().then(() => {
        isBusy = false;
      });
    });
    expect(Buffer.concat(taken).equals(Buffer.concat(all))).toBe(true);
  });

  it('is not done before its last piece is', async () => {
    let isDone = false;
    await takeAll(open(pieces([10])), async () => {
      await nextTurn();
      await nextTurn();
      isDone = true;
    });
    expect(isDone).toBe(true);
  });

  it('is destroyed by what fails in taking, at once or later, also the last piece', async () => {
    for (const take of [() => Promise.reject(new Error('full')), throwFull]) {
      const source = open(pieces([5]));
      await expect(takeAll(source, take)).rejects.toThrow('full');
      expect(source.destroyed).toBe(true);
    }
  });

  it('is passed on whole to a slow reader, after something else', async () => {
    const all = pieces(SIZES);
    let seen = 0;
    const relay = new Relay(async (to) => {
      await to.give(Buffer.from('first'));
      await to.passOn(open(all), (piece) => {
        seen += piece.length;
      });
      await to.passOn(open(all), () => {});
    });
    const got: Buffer[] = [];
    for await (const piece of relay as AsyncIterable<Buffer>) {
      got.push(piece);
      await nextTurn();
    }
    const whole = Buffer.concat(all);
    expect(Buffer.concat(got).equals(Buffer.concat([Buffer.from('first'), whole, whole]))).toBe(true);
    expect(seen).toBe(whole.length);
  });

  it('ends the relay with what looking at it throws', async () => {
    const source = open(pieces(SIZES));
    await expect(buffer(new Relay((to) => to.passOn(source, throwFull)))).rejects.toThrow('full');
    expect(source.destroyed).toBe(true);
  });
});

function throwFull(): never {
  throw new Error('full');
}

it('what is taken is waited for when its source breaks', async () => {
  const source = new Readable({ read() {} });
  source.push('x');
  let isDone = false;
  const taking = takeAll(source, async () => {
    source.destroy(new Error('cut'));
    await new Promise((resolve) => source.once('close', resolve));
    await nextTurn();
    isDone = true;
  });
  await expect(taking).rejects.toThrow('cut');
  expect(isDone).toBe(true);
});

describe('a relay', () => {
  it('begins when it is read, and hands on the error of its source', async () => {
    let begun = 0;
    const source = new Readable({
      read() {
        this.destroy(new Error('cut'));
      },
    });
    const relay = new Relay((to) => {
      begun++;
      return to.passOn(source, () => {});
    });
    await nextTurn();
    expect(begun).toBe(0);
    await expect(buffer(relay)).rejects.toThrow('cut');
    expect(begun).toBe(1);
  });

  it('lets go of a source that waits for its reader', async () => {
    const source = new Readable({ read() {} });
    let isOver = false;
    const relay = new Relay((to) =>
      to
        .passOn(source, () => {})
        .finally(() => {
          isOver = true;
        }),
    );
    relay.read(0);
    source.push(Buffer.alloc(1 << 20));
    await vi.waitFor(() => expect(source.isPaused()).toBe(true));
    relay.destroy();
    await vi.waitFor(() => expect(isOver).toBe(true));
    expect(source.destroyed).toBe(true);
  });

  it('destroys its source with itself, and one that it gets afterwards', async () => {
    const [first, second] = [new Readable({ read() {} }), new Readable({ read() {} })];
    let failure: unknown;
    const relay = new Relay(async (to) => {
      await to.passOn(first, () => {}).catch(() => {});
      await to
        .passOn(second, () => {})
        .catch((error) => {
          failure = error;
        });
    });
    first.push('x');
    for await (const _ of relay) break;
    expect(first.destroyed).toBe(true);
    await vi.waitFor(() => expect(failure).toBeInstanceOf(Error));
    expect(second.destroyed).toBe(true);
  });
});
