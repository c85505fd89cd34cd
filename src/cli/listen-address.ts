import { InvalidArgumentError } from 'commander';

const LOOPBACK = '127.0.0.1';
const MAX_PORT = 65_535;

/** Where to listen: `HOST:PORT`, `[IPv6]:PORT`, or `PORT` alone, on this machine only. Throws InvalidArgumentError. */
export function parseListenAddress(text: string): { host: string; port: number } {
  const [, inBrackets, host = inBrackets ?? LOOPBACK, digits] =
    /^(?:\[([0-9a-f:.]+)\]:|([^:[\]\s]+):)?(\d{1,5})$/i.exec(text) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > MAX_PORT)
    throw new InvalidArgumentError('It must be PORT, HOST:PORT or [IPv6]:PORT.');
  return { host, port };
}
