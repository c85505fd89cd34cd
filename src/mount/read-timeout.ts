/** Seconds after which a reader whose data cannot be had gets EIO, unless the mount says otherwise: a hang is worse than an error. */
export const DEFAULT_READ_TIMEOUT = 120;
/** The shortest, in seconds: less would make errors of ordinary network delays. */
export const MIN_READ_TIMEOUT = 0.1;
/** An hour, in seconds: longer than anybody waits for a file. */
export const MAX_READ_TIMEOUT = 3600;
