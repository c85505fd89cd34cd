/** Path of `name` in the open directory `fd`, wherever that is by now: nothing above it can lead elsewhere (proc(5), /proc/self/fd). */
export function below(fd: number, name: Buffer | string): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${fd}/`), Buffer.from(name)]);
}
