/** How long a peer that failed is not asked, in milliseconds; doubled for each further failure in a row, up to the longest time. */
export const FIRST_PAUSE_MS = 1000;
export const LONGEST_PAUSE_MS = 60_000;

/** Whether a peer is asked. */
export interface PeerHealth {
  isUp(): boolean;
  /** True if it is time to try it, and nobody does; whoever asked then does it, and says how it went with `probed`. */
  mayProbe(): boolean;
  probed(isGood: boolean): void;
  /** It served a whole answer. */
  served(): void;
  /** It failed: it is not asked before a probe has gone well. False if that was known. `isGrave`: for the longest time. */
  failed(options?: { isGrave?: boolean }): boolean;
}

/**
 * Health of a peer that is believed to be up. After a failure it is down until a probe went well, and probes wait longer after each
 * failure in a row. `now` is in milliseconds.
 */
export function createPeerHealth(now: () => number = Date.now): PeerHealth {
  let isUp = true;
  let isProbed = false;
  let pauses = 0;
  let until = 0;

  function pause(isGrave: boolean): void {
    const length = isGrave ? LONGEST_PAUSE_MS : Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** pauses);
    pauses++;
    until = Math.max(until, now() + length);
  }

  return {
    isUp: () => isUp,
    mayProbe() {
      if (isUp || isProbed || now() < until) return false;
      isProbed = true;
      return true;
    },
    probed(isGood) {
      isProbed = false;
      // It may have turned out to be wrong in between.
      if (isGood && now() >= until) isUp = true;
      else if (!isGood) pause(false);
    },
    served() {
      if (isUp) pauses = 0;
    },
    failed({ isGrave = false } = {}) {
      const wasUp = isUp;
      isUp = false;
      // What was on its way when it failed fails, too: that is one failure.
      if (wasUp || isGrave) pause(isGrave);
      return wasUp;
    },
  };
}
