import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** Without the certificates of the machine: Node.js would read all of them at every start, plain HTTP or not. */
const { NODE_EXTRA_CA_CERTS: _, ...plain } = process.env;

/**
 * Runs a program to its end and calls `ready` at the first line of its standard output. An error with what it printed if it fails.
 * @param {string[]} command
 * @param {{ ready?: () => void, onErrors?: (text: string) => void, env?: NodeJS.ProcessEnv, cwd?: string }} [options] `onErrors` gets
 *   the end of its standard error when it has ended well
 * @returns {Promise<string>} its standard output
 */
export async function runToEnd([program, ...args], { ready = () => {}, onErrors, env = plain, cwd } = {}) {
  const child = spawn(program, args, { env, cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  child.stdout.on('data', (piece) => {
    output += piece;
    if (output.includes('\n')) ready();
  });
  child.stderr.on('data', (piece) => {
    errors = (errors + piece).slice(-4000);
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}:\n${output}${errors}`);
  onErrors?.(errors);
  return output;
}
