import { appendFileSync } from 'node:fs';
import pino from 'pino';
import { messageOf } from '../errors.js';
import { dropOlderHalf, type LogLevel, sizeOf } from './log-file.js';

/** Writes one JSON object per line: time, level, message and the fields given. */
export interface DaemonLog {
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  /** `fields.error` may be whatever was thrown; its message is written, without secrets. */
  error(message: string, fields?: LogFields): void;
}

type LogFields = Record<string, unknown>;

/** Size at which the log's older half is thrown away, in bytes. */
const DEFAULT_LIMIT = 8 << 20;

/**
 * Opens the log at `path` for appending, mode 0600. It never holds more than `limit` bytes: then the newest half stays,
 * in the same file, because the daemon's standard error goes there too. A disk that is full loses lines, not mounts. Lines below
 * `level` (default `info`) are not written.
 */
export function openDaemonLog(
  path: string,
  { limit = DEFAULT_LIMIT, level = 'info' }: { limit?: number; level?: LogLevel } = {},
): DaemonLog {
  // Written at once: what was logged before the daemon dies tells why, and pino's own destinations keep a file open that is cut here.
  const write = (line: string) => {
    try {
      if (sizeOf(path) + line.length > limit) dropOlderHalf(path, limit);
      appendFileSync(path, line, { mode: 0o600 });
    } catch {
      // There is no better place to report it.
    }
  };
  const logger = pino(
    {
      level,
      base: null,
      messageKey: 'message',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write },
  );
  const log =
    (name: LogLevel) =>
    (message: string, { error, ...fields }: LogFields = {}) => {
      const what = error === undefined ? {} : { error: messageOf(error) };
      logger[name](cleaned({ ...fields, ...what }), withoutSecrets(message));
    };
  return { info: log('info'), warn: log('warn'), error: log('error') };
}

/** `value` with every text in it, at any depth, without secrets. */
function cleaned(value: unknown): unknown {
  if (typeof value === 'string') return withoutSecrets(value);
  if (Array.isArray(value)) return value.map(cleaned);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, cleaned(field)]));
}

/** Line by line: the stack of an error has several. */
function withoutSecrets(text: string): string {
  return text.split('\n').map(messageOf).join('\n');
}
