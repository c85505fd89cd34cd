/** A mounted image, whichever driver serves it. */
export interface ActiveMount {
  /** Settles when the kernel has let go of the mount, whoever unmounted it, and asks for nothing of it any more. */
  readonly ended: Promise<void>;
  /**
   * Unmounts. With `detach` also while files are open: those stay readable until they are closed.
   * Throws BUSY, DENIED, or FAILED if it is not mounted any more.
   */
  unmount(options?: { detach?: boolean }): Promise<void>;
}
