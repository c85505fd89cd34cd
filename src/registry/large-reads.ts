import type { Socket } from 'node:net';
import { giveRoomBack, pieceOf, ROOM_SIZE, takeRoom } from '../os/piece-memory.js';
import { type Connector, createConnector } from './undici.js';

/** Bytes that a connection reads at once as long as it never had as many: what Node.js reads. */
const SMALL_READ = 64 << 10;
/** Bytes from which on a piece gets the room that it was read into; fewer are copied out of it. */
const ROOM_FROM = 64 << 10;
/** After so many reads in a row with fewer bytes, a connection has no room any more. */
const FEW_READS = 3;

/** Where connections with little to read do it: what came is copied away before another one reads. */
let landing: Buffer | undefined;

/**
 * Opens connections without TLS that read up to ROOM_SIZE bytes at once as soon as as many come, and let their readers give the memory
 * back: Node.js reads 64 KiB into new memory each time, and a large blob would pass HTTP's parser and the streams behind it in
 * thousands of pieces. (With TLS there are never more than 16 KiB at once.)
 */
export function createLargeReads(timeout: number): Connector {
  return (options, callback) => {
    let socket: Socket | null = null;
    let room: Buffer | undefined;
    let few = 0;
    landing ??= Buffer.allocUnsafeSlow(SMALL_READ);
    const small = landing;
    const take = (bytes: Uint8Array): Buffer => {
      if (room !== undefined && bytes.length >= ROOM_FROM) {
        const piece = pieceOf(room, bytes.length);
        room = takeRoom();
        few = 0;
        return piece;
      }
      const piece = Buffer.from(bytes);
      if (room === undefined) {
        if (bytes.length === SMALL_READ) room = takeRoom();
        few = 0;
      } else if (++few === FEW_READS) {
        giveRoomBack(room);
        room = undefined;
      }
      return piece;
    };
    const onread = {
      // Asked for before the first read, and after each piece for the next one.
      buffer: () => room ?? small,
      // If this is false, nothing is read until the stream wants more.
      callback: (size: number, bytes: Uint8Array) => socket!.push(take(bytes.subarray(0, size))),
    };
    const settings = { timeout, highWaterMark: ROOM_SIZE, onread };
    createConnector(settings)(options, (...result) => {
      socket = result[1];
      socket?.once('close', () => {
        if (room !== undefined) giveRoomBack(room);
        room = undefined;
      });
      callback(...result);
    });
  };
}
