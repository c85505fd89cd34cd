/** What the user may change about a container, with the meaning that the options of `docker run` have. */
export interface RunOptions {
  /** Arguments behind the image: they replace the image's Cmd. */
  command?: readonly string[] | undefined;
  /** --entrypoint: replaces the image's Entrypoint and drops its Cmd; an empty string only drops both. */
  entrypoint?: string | undefined;
  /** -e: `NAME=value`, or `NAME` for the value that the caller's environment has (without one: removed). */
  env?: readonly string[] | undefined;
  /** -w: absolute; created if it is missing. */
  workdir?: string | undefined;
  /** -u: `name`, `uid`, `name:group`, `uid:gid`. */
  user?: string | undefined;
  /** -v: `HOST:CONTAINER[:ro|rw]`. A host directory that is missing is created. */
  volumes?: readonly string[] | undefined;
  /** -t: a terminal in the container. Needs one outside, and attaches standard input as -i does. */
  tty?: boolean | undefined;
  /** -i: standard input is the container's; otherwise that reads nothing. */
  interactive?: boolean | undefined;
  /** --net: `host` (default) shares the machine's network, `none` has only a loopback device. */
  network?: 'host' | 'none' | undefined;
  /** --read-only: the root file system cannot be written. Volumes that the image declares can. */
  readOnly?: boolean | undefined;
  /** --security-opt: `seccomp=unconfined`, `seccomp=FILE`, `no-new-privileges`. */
  securityOptions?: readonly string[] | undefined;
  /** Default: the machine's own with the host's network, else the container's id. */
  hostname?: string | undefined;
}
