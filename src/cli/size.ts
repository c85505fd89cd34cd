import { type Command, InvalidArgumentError, Option } from 'commander';

const POWERS = ['', 'k', 'm', 'g', 't'];

/**
 * Bytes of a size on the command line: `500M`, `20GB`, `1.5TiB`, `1048576`. Units count in powers of 1000, those with an `i`
 * in powers of 1024. Throws InvalidArgumentError.
 */
export function parseByteSize(text: string): number {
  const [, digits, unit = '', binary] = /^(\d{1,15}(?:\.\d{1,3})?)\s?([kmgt]?)(i?)b?$/i.exec(text) ?? [];
  const bytes = Math.floor(Number(digits) * (binary ? 1024 : 1000) ** POWERS.indexOf(unit.toLowerCase()));
  if (digits === undefined || (binary && unit === '') || !Number.isSafeInteger(bytes))
    throw new InvalidArgumentError('It must be a number of bytes, or one with k, M, G or T, as in 20G.');
  return bytes;
}

/** Adds the option that limits the cache of a daemon that the command runs or starts. */
export function addCacheSizeOption(command: Command): Command {
  return command.addOption(
    new Option('--cache-size <size>', 'limit of the cache on disk, as in 20G (default: none)')
      .env('RAFTER_CACHE_SIZE')
      .argParser(parseByteSize),
  );
}
