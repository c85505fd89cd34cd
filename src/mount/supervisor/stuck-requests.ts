import { readdirSync, readFileSync, readSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { OUT_HEADER_SIZE, REQUEST_BUFFER_SIZE } from '../../fuse/protocol.js';
import { writeHeader } from '../../fuse/reply.js';
import { decodeRequest } from '../../fuse/request.js';
import { resendRequests } from '../../fuse/resend.js';

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
  const buffer = Buffer.alloc(REQUEST_BUFFER_SIZE);
  const reply = Buffer.alloc(OUT_HEADER_SIZE);
  for (const fd of descriptors) {
    try {
      // What is read here must come again.
      if (!resendRequests(fd)) continue;
      for (;;) {
        const request = decodeRequest(buffer, readSync(fd, buffer));
        if (request === undefined) break;
        if (!threads.has(request.thread)) continue;
        writeSync(fd, reply, 0, writeHeader(reply, request.unique, { errno: constants.errno.EINTR }));
      }
    } catch {
      // EAGAIN: that was all. Others: it is unmounted.
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
