import { writeSync } from 'node:fs';
import { errnoOf } from '../errors.js';
import { NOTIFY_RESEND, OUT_HEADER_SIZE } from './protocol.js';

/**
 * Makes the kernel send all requests again that the last server of `fd` had read and not answered. Those that nobody read
 * come by themselves. False on kernels without it (before Linux 6.9), where nothing happens: such readers wait until they are
 * interrupted.
 */
export function resendRequests(fd: number): boolean {
  const notification = Buffer.alloc(OUT_HEADER_SIZE);
  notification.writeUInt32LE(OUT_HEADER_SIZE, 0);
  notification.writeInt32LE(NOTIFY_RESEND, 4);
  try {
    writeSync(fd, notification);
    return true;
  } catch (error) {
    if (errnoOf(error) !== 'EINVAL') throw error;
    return false;
  }
}
