import { type ErrorCode, isRafterError, messageOf, type RafterError } from '../errors.js';
import { hintOf } from '../os/system-error.js';
import { paint } from './colour.js';
import { stdout } from './stdout.js';

/** How a command talks: results to stdout, everything else to stderr. */
export interface Output {
  readonly json: boolean;
  readonly quiet: boolean;
  /** A result: `value` as one line of JSON with `--json`, else `text`. */
  result(value: unknown, text: string): void;
  /** What a command did that has no other result: `value` as one line of JSON with `--json`, else `text` on stderr. */
  done(value: unknown, text: string): void;
  /** A step that was done. Nothing with `--quiet`. */
  info(text: string): void;
  /** Something that the user should know although the command goes on. */
  warn(text: string): void;
  /** The one line of a failure, its hint and, with `--debug`, its stack and causes. */
  error(error: unknown): void;
}

export interface OutputOptions {
  json: boolean;
  quiet: boolean;
  debug: boolean;
}

/** The output of one run of the command line. */
export function createOutput({ json, quiet, debug }: OutputOptions): Output {
  const info = (text: string) => {
    if (!quiet) writeLine(process.stderr, text);
  };
  return {
    json,
    quiet,
    result: (value, text) => writeLine(stdout(), json ? JSON.stringify(value) : text),
    done: (value, text) => (json ? writeLine(stdout(), JSON.stringify(value)) : info(text)),
    info,
    warn: (text) => writeLine(process.stderr, `${paint(process.stderr, 'yellow', 'warning:')} ${text}`),
    error: (error) => {
      if (json) writeLine(process.stderr, JSON.stringify({ error: describe(error) }));
      else writeLine(process.stderr, errorText(error));
      if (debug) writeLine(process.stderr, stackText(error));
    },
  };
}

/** An error as JSON: the same fields as the daemon's API has. */
function describe(error: unknown): { code: ErrorCode; message: string; hint?: string } {
  const known: RafterError | undefined = isRafterError(error) ? error : undefined;
  const hint = adviceOf(error);
  return {
    code: known?.code ?? 'FAILED',
    message: messageOf(error),
    ...(hint !== undefined && { hint }),
  };
}

const DAMAGED =
  'the data is damaged or was exchanged: get the image anew; rafter check IMAGE names every fault';

const OTHER_KIND = 'it is damaged, or something else than what is expected there';

/** A hint, or what is true of all errors of its kind. */
function adviceOf(error: unknown): string | undefined {
  if (isRafterError(error, 'DIGEST_MISMATCH', 'TRUNCATED')) return hintOf(error) ?? DAMAGED;
  return hintOf(error) ?? (isRafterError(error, 'MALFORMED') ? OTHER_KIND : undefined);
}

function errorText(error: unknown): string {
  const hint = adviceOf(error);
  const line = `${paint(process.stderr, 'red', 'rafter:')} ${messageOf(error)}`;
  return hint === undefined ? line : `${line}\n${paint(process.stderr, 'cyan', 'hint:')} ${hint}`;
}

function stackText(error: unknown): string {
  const lines: string[] = [];
  for (let at = error; at instanceof Error; at = at.cause) {
    const frames = (at.stack ?? '').split('\n').filter((line) => line.startsWith('    at '));
    lines.push(`${lines.length === 0 ? '' : 'caused by '}${at.name}: ${messageOf(at)}`, ...frames);
  }
  return lines.join('\n');
}

function writeLine(stream: NodeJS.WriteStream, text: string): void {
  stream.write(text.endsWith('\n') ? text : `${text}\n`);
}
