import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { errnoOf, RafterError } from '../errors.js';
import { errnoName, systemError } from './errno.js';
import { libc } from './libc.js';

/** From the kernel's include/uapi/linux/loop.h; LOOP_CONFIGURE came with Linux 5.8. */
const LOOP_CONFIGURE = 0x4c0a;
const LOOP_CTL_GET_FREE = 0x4c82;
const LO_FLAGS_READ_ONLY = 1;
const LO_FLAGS_AUTOCLEAR = 4;
const LO_FLAGS_DIRECT_IO = 16;

/** Where the members of `struct loop_config` are that are set, and its bytes. */
const CONFIG = { fd: 0, blockSize: 4, flags: 60, size: 304 };

const CONTROL = '/dev/loop-control';
const CONTAINER_HINT = `in a container: docker run --privileged, or --device ${CONTROL} with the devices /dev/loop*`;

/** Bytes of a block of the devices: a file that is not whole blocks would lose its end. */
export const LOOP_BLOCK_SIZE = 4096;

/** How often another device is asked for when somebody else was quicker with one. */
const ATTEMPTS = 32;

/** A loop device that goes by itself when nobody has it open any more. */
export interface LoopDevice {
  /** `/dev/loop7`. */
  readonly path: string;
  /** Lets go of it. What is mounted keeps it. */
  close(): Promise<void>;
}

/**
 * Makes a read-only block device of the file at `path`, whose size is a multiple of `LOOP_BLOCK_SIZE`. Its pages are not held
 * besides those of who reads the device, where the file can do that. May wait for this very process, if it serves the file (FUSE):
 * so the calls are on other threads.
 * Throws UNSUPPORTED (no loop devices here), DENIED, or FAILED.
 */
export async function attachLoop(path: string): Promise<LoopDevice> {
  const file = await open(path, constants.O_RDONLY);
  try {
    const { size } = await file.stat();
    if (size % LOOP_BLOCK_SIZE !== 0)
      throw new RangeError(`${path}: ${size} bytes are not whole blocks of ${LOOP_BLOCK_SIZE}`);
    const control = await openDevice(CONTROL);
    try {
      return await attachFree(control, file, path);
    } finally {
      await control.close();
    }
  } finally {
    await file.close();
  }
}

async function attachFree(control: FileHandle, file: FileHandle, path: string): Promise<LoopDevice> {
  const config = Buffer.alloc(CONFIG.size);
  config.writeUInt32LE(file.fd, CONFIG.fd);
  config.writeUInt32LE(LOOP_BLOCK_SIZE, CONFIG.blockSize);
  config.writeUInt32LE(LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO, CONFIG.flags);
  for (let attempt = 1; ; attempt++) {
    const free = await libc().ioctlAside(control.fd, LOOP_CTL_GET_FREE, Buffer.alloc(0));
    if (free.result < 0) throw systemError(free.errno, 'find a free loop device');
    const devicePath = `/dev/loop${free.result}`;
    const device = await openDevice(devicePath);
    const { result, errno } = await libc().ioctlAside(device.fd, LOOP_CONFIGURE, config);
    if (result === 0) return { path: devicePath, close: () => device.close() };
    await device.close();
    if (errnoName(errno) !== 'EBUSY' || attempt === ATTEMPTS)
      throw systemError(errno, `attach ${devicePath} to ${path}`, {
        EINVAL: 'the kernel must know LOOP_CONFIGURE: Linux 5.8',
        EBUSY: 'others take every loop device at once',
      });
  }
}

async function openDevice(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDONLY);
  } catch (cause) {
    const name = errnoOf(cause) ?? '';
    if (name === 'EACCES' || name === 'EPERM')
      throw new RafterError('DENIED', `cannot open ${path}: ${name}`, { cause, hint: CONTAINER_HINT });
    throw new RafterError('UNSUPPORTED', `there are no loop devices: cannot open ${path}: ${name}`, {
      cause,
      hint: `try 'modprobe loop'; ${CONTAINER_HINT}`,
    });
  }
}
