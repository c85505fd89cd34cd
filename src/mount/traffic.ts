import type { Traffic } from '../registry/options.js';
import type { MountStats } from './api/api.js';
import type { DaemonLog } from './daemon-log.js';
import type { Meters } from './meters.js';

/** What a mount has read when it begins. */
export function noStats(): MountStats {
  return { fetchedBytes: 0, requests: 0, copiedBytes: 0, peerBytes: 0, registryBytes: 0 };
}

/** Counts in `stats` and in `meters` where the bytes of one mount's blobs come from, and how often its Dragonfly peer failed. */
export function noteTraffic(
  stats: MountStats,
  { meters, log }: { meters: Meters; log: DaemonLog },
): (event: Traffic) => void {
  return (event) => {
    if (event.kind === 'bytes') {
      if (event.from === 'peers') stats.peerBytes += event.count;
      else stats.registryBytes += event.count;
      meters.sourceBytes.add(event.from, event.count);
      return;
    }
    meters.peerFailures.add(event.reason);
    log.warn('the Dragonfly peer failed: blobs come from the registry', { reason: event.reason });
  };
}
