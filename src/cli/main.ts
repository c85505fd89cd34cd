import { isRafterError } from '../errors.js';
import { exitCodeOf } from './exit-codes.js';
import { endSoon } from './interrupt.js';
import { createOutput } from './output.js';
import { packageVersion } from './version.js';

// Node.js would print the error with all that hangs on it, secrets included. A daemon has its own way with these.
process.on('uncaughtException', (error) => {
  if (process.listenerCount('uncaughtException') > 1) return;
  createOutput({ json: false, quiet: false, debug: !isRafterError(error) }).error(error);
  process.exit(1);
});

const argv = process.argv.slice(2);
if (argv.length === 1 && argv[0] === '--version') {
  // The one answer that needs nothing of what the commands load.
  process.stdout.write(`${packageVersion()}\n`);
} else {
  void import('./program.js').then(async ({ runCommandLine }) => {
    process.exitCode = await runCommandLine(argv);
    if (process.exitCode === exitCodeOf('INTERRUPTED')) endSoon();
  });
}
