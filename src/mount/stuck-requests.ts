import { readdirSync, readFileSync, readSync, writeSync } from 'node:fs';
import { constants } from 'node:os';

/** Of the FUSE protocol: bytes of `fuse_in_header` and `fuse_out_header`, `FUSE_NOTIFY_RESEND`, and room for any request. */
const IN_HEADER_SIZE = 40;
const OUT_HEADER_SIZE = 16;
const NOTIFY_RESEND = 7;
const REQUEST_ROOM = 1 << 20;

/** True for a process whose first thread has ended and that is not gone: others of its threads wait in the kernel. */
export function isHalfDead(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
  } catch {
    return false;
  }
}

/**
 * Lets a daemon that was killed die. A thread of it may be opening a file that the daemon itself served (a blob, for the
 * kernel, while mounting an image): the request has been read, nobody will answer it, and as long as it waits no signal
 * ends the thread. Gives EINTR to all such requests of process `pid`. All others are sent again to whoever serves the
 * descriptors next. Before Linux 6.9 this can do nothing.
 */
export function releaseThreads(pid: number, descriptors: Iterable<number>): void {
  const threads = new Set(threadsOf(pid));
  if (threads.size === 0) return;
  const request = Buffer.alloc(REQUEST_ROOM);
  for (const fd of descriptors) {
    try {
      notifyResend(fd);
      for (;;) {
        if (readSync(fd, request) < IN_HEADER_SIZE) break;
        if (threads.has(request.readUInt32LE(32))) refuse(fd, request.subarray(8, 16));
      }
    } catch {
      // EAGAIN: that was all. Others: it is unmounted, or the kernel cannot do this.
    }
  }
}

function threadsOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number);
  } catch {
    return [];
  }
}

function notifyResend(fd: number): void {
  const notification = Buffer.alloc(OUT_HEADER_SIZE);
  notification.writeUInt32LE(OUT_HEADER_SIZE, 0);
  notification.writeInt32LE(NOTIFY_RESEND, 4);
  writeSync(fd, notification);
}

function refuse(fd: number, unique: Buffer): void {
  const reply = Buffer.alloc(OUT_HEADER_SIZE);
  reply.writeUInt32LE(OUT_HEADER_SIZE, 0);
  reply.writeInt32LE(-constants.errno.EINTR, 4);
  unique.copy(reply, 8);
  writeSync(fd, reply);
}
