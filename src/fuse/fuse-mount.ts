/** A file system that is mounted through FUSE. */
export interface FuseMount {
  readonly mountPoint: string;
  /** Settles when the kernel has let go of the mount, whoever unmounted it, and no request is left. */
  readonly ended: Promise<void>;
  /**
   * Unmounts. With `detach` also while files are open: those stay readable until closed or until this process ends, which
   * the mount no longer keeps from ending; `ended` waits for the first.
   * Throws BUSY, DENIED, or FAILED if it is not mounted any more.
   */
  unmount(options?: { detach?: boolean }): Promise<void>;
}
