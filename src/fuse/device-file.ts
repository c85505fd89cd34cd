import { constants, openSync } from 'node:fs';
import { access } from 'node:fs/promises';
import { errnoOf, RafterError } from '../errors.js';

const DEVICE = '/dev/fuse';

/** Opens the FUSE device, non-blocking. Throws UNSUPPORTED or DENIED, with a hint. */
export function openDevice(): number {
  try {
    return openSync(DEVICE, constants.O_RDWR | constants.O_NONBLOCK);
  } catch (cause) {
    throw deviceError(cause);
  }
}

/** Throws UNSUPPORTED or DENIED, with a hint, if this process could not open the FUSE device. */
export async function checkDevice(): Promise<void> {
  try {
    await access(DEVICE, constants.R_OK | constants.W_OK);
  } catch (cause) {
    throw deviceError(cause);
  }
}

function deviceError(cause: unknown): RafterError {
  const missing = errnoOf(cause) === 'ENOENT';
  return new RafterError(
    missing ? 'UNSUPPORTED' : 'DENIED',
    missing ? `this machine has no ${DEVICE}` : `no right to open ${DEVICE}`,
    { cause, hint: missing ? "try 'modprobe fuse'; in a container, pass the device in" : 'run as root' },
  );
}
