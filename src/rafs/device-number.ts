/** A device number. */
export interface DeviceNumber {
  /** 0 to 4095. */
  major: number;
  /** 0 to 1048575. */
  minor: number;
}

/** The kernel's 32-bit encoding: minor bits 8 to 19 above the major (EROFS i_u of devices). */
export function encodeDeviceNumber({ major, minor }: DeviceNumber): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

/** The device number of the kernel's 32-bit encoding. */
export function decodeDeviceNumber(encoded: number): DeviceNumber {
  return { major: (encoded >>> 8) & 0xfff, minor: (encoded & 0xff) | ((encoded >>> 12) & 0xfff00) };
}
