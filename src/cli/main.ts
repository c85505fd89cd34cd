import { createOutput } from './output.js';
import { runCommandLine } from './program.js';

// Node.js would print the error with all that hangs on it, secrets included. A daemon has its own way with these.
process.on('uncaughtException', (error) => {
  if (process.listenerCount('uncaughtException') > 1) return;
  createOutput({ json: false, quiet: false, debug: true }).error(error);
  process.exit(1);
});
process.exitCode = await runCommandLine(process.argv.slice(2));
