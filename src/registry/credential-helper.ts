import { spawn } from 'node:child_process';
import { errnoOf, hideSecret, RafterError } from '../errors.js';

/** How long a helper may take: it may ask a keychain that asks the user. */
const HELPER_TIMEOUT_MS = 60_000;
/** Most bytes of a helper's answer. */
const MAX_ANSWER = 64 << 10;
/** What helpers say when they hold nothing for the server (docker-credential-helpers). */
const NOT_FOUND_TEXT = 'credentials not found in native keychain';

/** What a credential helper gave. `secret` is an identity token if `username` is `<token>`. */
export interface HelperAnswer {
  username: string;
  secret: string;
}

/**
 * Asks `docker-credential-<name> get` for `server`; undefined if it holds nothing. The server goes in on stdin. Errors never
 * show what the helper printed: it may be the secret. NOT_FOUND if the program is missing.
 */
export async function askCredentialHelper(name: string, server: string): Promise<HelperAnswer | undefined> {
  const program = programOf(name);
  const { status, output } = await run([program, 'get'], server);
  if (status !== 0) {
    if (output.toLowerCase().includes(NOT_FOUND_TEXT)) return undefined;
    throw new RafterError('FAILED', `${program} get failed for ${server} (exit status ${status ?? 'none'})`, {
      hint: `try it: echo ${server} | ${program} get`,
    });
  }
  const answer = parseAnswer(output);
  if (answer !== undefined) return answer;
  throw new RafterError(
    'MALFORMED',
    `${program} get: the answer for ${server} is not what a helper should print`,
  );
}

/** Gives a log-in to `docker-credential-<name> store`, on its stdin. Errors as those of `askCredentialHelper`. */
export async function storeInHelper(
  name: string,
  { server, username, secret }: HelperAnswer & { server: string },
): Promise<void> {
  const program = programOf(name);
  hideSecret(secret);
  const input = JSON.stringify({ ServerURL: server, Username: username, Secret: secret });
  const { status } = await run([program, 'store'], input);
  if (status === 0) return;
  throw new RafterError('FAILED', `${program} store failed for ${server} (exit status ${status ?? 'none'})`);
}

/** Lets `docker-credential-<name> erase` forget `server`; that it did not know it is no error. */
export async function eraseFromHelper(name: string, server: string): Promise<void> {
  const program = programOf(name);
  const { status, output } = await run([program, 'erase'], server);
  if (status === 0 || output.toLowerCase().includes(NOT_FOUND_TEXT)) return;
  throw new RafterError('FAILED', `${program} erase failed for ${server} (exit status ${status ?? 'none'})`);
}

function programOf(name: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)) return `docker-credential-${name}`;
  throw new RafterError(
    'MALFORMED',
    `${JSON.stringify(name.slice(0, 100))} is no name of a credential helper`,
  );
}

function parseAnswer(output: string): HelperAnswer | undefined {
  try {
    const { Username: username, Secret: secret } = JSON.parse(output) as Record<string, unknown>;
    if (typeof username !== 'string' || typeof secret !== 'string') return undefined;
    hideSecret(secret);
    return { username, secret };
  } catch {
    return undefined;
  }
}

function run(
  [program, verb]: [string, string],
  input: string,
): Promise<{ status: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    // What it has to know comes on its stdin; log-ins of the environment are none of its business.
    const { RAFTER_PASSWORD: _, DOCKER_AUTH_CONFIG: __, ...env } = process.env;
    const child = spawn(program, [verb], { stdio: ['pipe', 'pipe', 'ignore'], env });
    const pieces: Buffer[] = [];
    let size = 0;
    // The pipe goes too: a child of the helper would keep it open, and with it this promise.
    const stop = () => {
      child.kill('SIGKILL');
      child.stdout.destroy();
    };
    const timer = setTimeout(stop, HELPER_TIMEOUT_MS);
    child.stdout.on('data', (piece: Buffer) => {
      size += piece.length;
      if (size <= MAX_ANSWER) pieces.push(piece);
      else stop();
    });
    child.on('error', (error) => {
      clearTimeout(timer);
      const missing = errnoOf(error) === 'ENOENT';
      const what = missing ? 'is not installed, but Docker’s configuration names it' : 'cannot be started';
      const hint = 'install it, or take credsStore or credHelpers out of config.json and use rafter login';
      reject(new RafterError(missing ? 'NOT_FOUND' : 'FAILED', `${program} ${what}`, { cause: error, hint }));
    });
    child.on('close', (status) => {
      clearTimeout(timer);
      resolve({ status, output: Buffer.concat(pieces).toString('utf8') });
    });
    // A helper that ends without reading is judged by its answer.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}
