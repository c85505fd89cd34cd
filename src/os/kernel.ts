import { release } from 'node:os';

/** True if the running kernel is `major.minor` or newer. */
export function isKernelAtLeast(major: number, minor: number, version = release()): boolean {
  const [a = 0, b = 0] = version.split('.').map((part) => Number.parseInt(part, 10));
  return a > major || (a === major && b >= minor);
}
