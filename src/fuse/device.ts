import { closeSync } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { RafterError } from '../errors.js';
import { systemError } from '../os/errno.js';
import { libc } from '../os/libc.js';
import { MS_RDONLY, mount } from '../os/mount.js';
import { openDevice } from './device-file.js';
import { answerInit, isInit, type Negotiated } from './init.js';
import { FUSE_TYPE } from './mount-options.js';
import { MAX_READ, REQUEST_BUFFER_SIZE } from './protocol.js';
import { decodeRequest } from './request.js';
import { unmountFuse } from './unmount.js';

/** The kernel's end of a FUSE mount, as an open file of this process. */
export interface FuseConnection {
  /** Descriptor of /dev/fuse, non-blocking. Readers of the mount wait as long as any process has it open. */
  readonly fd: number;
  readonly negotiated: Negotiated;
}

/**
 * Mounts at `mountPoint`, an existing directory, and shakes hands with the kernel. Readers wait until somebody answers the
 * requests that come out of the descriptor. `parallel`: see `answerInit`. Needs root.
 * Throws UNSUPPORTED (no FUSE, or too old), DENIED, BUSY or FAILED; then nothing is mounted.
 */
export function mountDevice(
  mountPoint: string,
  { parallel }: { parallel?: boolean | undefined } = {},
): FuseConnection {
  const fd = openDevice();
  try {
    mount({
      source: 'rafter',
      target: mountPoint,
      type: FUSE_TYPE,
      flags: MS_RDONLY,
      data: `fd=${fd},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,max_read=${MAX_READ}`,
    });
    try {
      return { fd, negotiated: shakeHands(fd, parallel) };
    } catch (error) {
      unmountFuse(mountPoint, { detach: true }).catch(() => {});
      throw error;
    }
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Reads one request into `buffer`: its length, 0 if there is none now, undefined if the mount has ended. */
export function readRequest(fd: number, buffer: Buffer): number | undefined {
  const length = Number(libc().read(fd, buffer, buffer.length));
  if (length >= 0) return length;
  const errno = libc().errno();
  const { EAGAIN, EINTR, ENOENT, ENODEV, ECONNABORTED } = osConstants.errno;
  // ENOENT: the request was interrupted before it was read.
  if (errno === EAGAIN || errno === EINTR || errno === ENOENT) return 0;
  if (errno === ENODEV || errno === ECONNABORTED) return undefined;
  throw systemError(errno, 'read a request of the kernel');
}

/**
 * Writes an answer of `length` bytes. Answers that nobody waits for any more (interrupted, unmounted) are dropped by the
 * kernel; that is no error.
 */
export function writeReply(fd: number, reply: Buffer, length: number): void {
  if (Number(libc().write(fd, reply, length)) >= 0) return;
  const errno = libc().errno();
  const { ENOENT, ENODEV, ECONNABORTED } = osConstants.errno;
  if (errno === ENOENT || errno === ENODEV || errno === ECONNABORTED) return;
  throw systemError(errno, 'answer a request of the kernel');
}

/** mount(2) itself puts INIT into the queue: it is there already. */
function shakeHands(fd: number, parallel: boolean | undefined): Negotiated {
  const buffer = Buffer.alloc(REQUEST_BUFFER_SIZE);
  const length = readRequest(fd, buffer) ?? 0;
  const request = decodeRequest(buffer, length);
  if (request === undefined || !isInit(request))
    throw new RafterError('FAILED', 'the FUSE device did not begin with INIT');
  const { reply, negotiated } = answerInit(request, { parallel });
  writeReply(fd, reply, reply.length);
  return negotiated;
}
