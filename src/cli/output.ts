import { type ErrorCode, isRafterError, messageOf, type RafterError } from '../errors.js';

/** How a command talks: results to stdout, everything else to stderr. */
export interface Output {
  readonly json: boolean;
  readonly quiet: boolean;
  /** A result: `value` as one line of JSON with `--json`, else `text`. */
  result(value: unknown, text: string): void;
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
  return {
    json,
    quiet,
    result: (value, text) => writeLine(process.stdout, json ? JSON.stringify(value) : text),
    info: (text) => {
      if (!quiet) writeLine(process.stderr, text);
    },
    warn: (text) => writeLine(process.stderr, `warning: ${text}`),
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
  return {
    code: known?.code ?? 'FAILED',
    message: messageOf(error),
    ...(known?.hint !== undefined && { hint: known.hint }),
  };
}

function errorText(error: unknown): string {
  const hint = isRafterError(error) ? error.hint : undefined;
  return `rafter: ${messageOf(error)}${hint === undefined ? '' : `\nhint: ${hint}`}`;
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
