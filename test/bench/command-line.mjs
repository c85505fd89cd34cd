import { parseArgs } from 'node:util';

/**
 * Reads a bench's command line: options, and the images behind them. The value that an option has in `defaults` tells what it takes: nothing
 * (`false`), a value each time (a list), or one. `--help` prints `usage` and ends the program; what is not known ends it with exit code 2.
 * @template {Record<string, string | boolean | string[] | undefined>} Defaults
 * @param {string} usage
 * @param {Defaults} defaults
 * @returns {{ options: Defaults, named: string[] }}
 */
export function readCommandLine(usage, defaults) {
  const options = Object.fromEntries(
    Object.entries(defaults).map(([name, value]) => [
      name,
      { type: value === false ? 'boolean' : 'string', multiple: Array.isArray(value), default: value },
    ]),
  );
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { ...options, help: { type: 'boolean', short: 'h' } },
    });
    if (!values.help) return { options: values, named: positionals };
    console.log(usage);
    process.exit(0);
  } catch (error) {
    console.error(`${error.message}\n\n${usage}`);
    process.exit(2);
  }
}
