import { InvalidArgumentError } from 'commander';

/** When a start is over: a line of standard output has a text, something listens on a port, or time has passed. */
export type Until = { text: string } | { port: number } | { ms: number };

const LAST_PORT = 65_535;
/** Most seconds, a day. */
const MAX_SECONDS = 86_400;

/** Reads the argument of `--until`: `port:N`, `SECONDSs`, or a text. */
export function parseUntil(text: string): Until {
  const port = /^port:(\d{1,5})$/.exec(text)?.[1];
  if (port !== undefined) {
    if (Number(port) < 1 || Number(port) > LAST_PORT)
      throw new InvalidArgumentError('There is no such port.');
    return { port: Number(port) };
  }
  const seconds = /^(\d+(?:\.\d+)?)s$/.exec(text)?.[1];
  if (seconds !== undefined) {
    if (Number(seconds) > MAX_SECONDS)
      throw new InvalidArgumentError(`It must be at most ${MAX_SECONDS} seconds.`);
    return { ms: Number(seconds) * 1000 };
  }
  if (text === '') throw new InvalidArgumentError('It must be a text, port:N or a time such as 5s.');
  return { text };
}
