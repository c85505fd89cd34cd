/** How long what cannot be called off may hold up the end of an interrupted command, in milliseconds. */
const PATIENCE_MS = 500;

/**
 * Ends the process by SIGINT, which shells show as 130: `process.exit` would wait for names that are being looked up, for as long as no
 * name server answers.
 */
export function endByInterrupt(): void {
  process.removeAllListeners('SIGINT');
  process.kill(process.pid, 'SIGINT');
}

/** To be called when an interrupted command has cleaned up: a name that is looked up, or a credential helper, is not waited for. */
export function endSoon(): void {
  setTimeout(endByInterrupt, PATIENCE_MS).unref();
}
