/** Ends a daemon that has nothing to do. */
export interface IdleTimer {
  /** A request begins (+1) or has been answered (-1). */
  change(by: 1 | -1): void;
  /** `busy` says how many things other than requests keep the daemon needed. Asked while it may be idle. */
  watch(busy: () => number): void;
  close(): void;
}

/** How often to look whether the mounts have gone, in milliseconds. */
const LOOK_EVERY = 1000;

/** Calls `onIdle` once nothing has been going on for `seconds`; never if that is 0. */
export function createIdleTimer(seconds: number, onIdle: () => void): IdleTimer {
  let requests = 0;
  let isBusy = () => 0;
  let idleSince = Date.now();
  const look = () => {
    if (requests > 0 || isBusy() > 0) idleSince = Date.now();
    else if (Date.now() - idleSince >= seconds * 1000) {
      clearInterval(timer);
      onIdle();
    }
  };
  const timer = seconds > 0 ? setInterval(look, Math.min(LOOK_EVERY, seconds * 250)) : undefined;
  return {
    change(by) {
      requests += by;
      idleSince = Date.now();
    },
    watch(busy) {
      isBusy = busy;
    },
    close: () => clearInterval(timer),
  };
}
