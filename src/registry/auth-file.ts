import { readFile } from 'node:fs/promises';
import * as v from 'valibot';
import { errnoOf, hideSecret, RafterError } from '../errors.js';
import { systemReason } from '../os/system-error.js';
import { hostNames, repositoryKeys } from './auth-keys.js';
import { askCredentialHelper } from './credential-helper.js';

/** What authenticates: a user name with password, or a token of an earlier log-in. */
export type Login =
  | { kind: 'password'; username: string; password: string }
  /** To be exchanged at the token server (OAuth 2 refresh token). */
  | { kind: 'identity-token'; token: string }
  /** To be sent to the registry as it is. */
  | { kind: 'registry-token'; token: string };

/** Most bytes of a configuration file with credentials. */
const MAX_FILE_SIZE = 4 << 20;
/** User name that marks a helper's secret as an identity token. */
export const TOKEN_USER = '<token>';
const text = v.optional(v.string());
const fileSchema = v.looseObject({
  auths: v.nullish(
    v.record(
      v.string(),
      v.looseObject({
        auth: text,
        username: text,
        password: text,
        identitytoken: text,
        registrytoken: text,
      }),
    ),
  ),
  credHelpers: v.nullish(v.record(v.string(), v.string())),
  credsStore: text,
});

export type AuthFile = v.InferOutput<typeof fileSchema>;
type AuthEntry = NonNullable<AuthFile['auths']>[string];

/**
 * Looks for a log-in to `registry` (API host) in a file of Docker's config.json or containers' auth.json format: the
 * host's helper, then the general store, then the entries in the file itself, of which the one for the longest part of
 * `registry/repository` counts. undefined if there is none, or no file. MALFORMED names the file, never its content.
 */
export async function findLogin(
  path: string,
  registry: string,
  repository: string,
): Promise<Login | undefined> {
  const file = await readAuthFile(path);
  return file === undefined ? undefined : await loginOf(file, { name: path, registry, repository });
}

/** As `findLogin`, for the text of such a file; `name` says in errors where it is from. */
export async function findLoginInText(
  text: string,
  { name, registry, repository }: { name: string; registry: string; repository: string },
): Promise<Login | undefined> {
  return await loginOf(parseAuthFile(Buffer.from(text), name), { name, registry, repository });
}

async function loginOf(
  file: AuthFile,
  { name, registry, repository }: { name: string; registry: string; repository: string },
): Promise<Login | undefined> {
  const hosts = hostNames(registry);
  for (const host of hosts) {
    const helper = file.credHelpers?.[host];
    if (helper !== undefined) return askHelper(helper, host);
  }
  if (file.credsStore) {
    const stored = await askHelper(file.credsStore, hosts[0]);
    if (stored !== undefined) return stored;
  }
  for (const key of repositoryKeys(registry, repository)) {
    const entry = file.auths?.[key];
    const login = entry === undefined ? undefined : readEntry(entry, name, key);
    if (login !== undefined) return login;
  }
  return undefined;
}

/**
 * A configuration file with credentials, with whatever else is in it; undefined if there is none. Errors name the file, never its
 * content: DENIED, LIMIT_EXCEEDED, MALFORMED.
 */
export async function readAuthFile(path: string): Promise<AuthFile | undefined> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return undefined;
    const code = errnoOf(error) === 'EACCES' ? 'DENIED' : 'FAILED';
    throw new RafterError(code, `${path}: ${systemReason(error)}`, { cause: error });
  }
  return parseAuthFile(bytes, path);
}

function parseAuthFile(bytes: Buffer, path: string): AuthFile {
  if (bytes.length > MAX_FILE_SIZE) {
    throw new RafterError('LIMIT_EXCEEDED', `${path}: ${bytes.length} bytes, more than ${MAX_FILE_SIZE}`);
  }
  // Neither the parser's message nor the value goes into the error: both may show a secret.
  let json: unknown;
  try {
    json = JSON.parse(bytes.toString('utf8'));
  } catch {
    throw new RafterError('MALFORMED', `${path}: not JSON`);
  }
  const result = v.safeParse(fileSchema, json);
  if (result.success) return result.output;
  const field = v.getDotPath(result.issues[0]) ?? 'the whole';
  throw new RafterError('MALFORMED', `${path}: ${field} has not the expected type`);
}

function readEntry(entry: AuthEntry, path: string, key: string): Login | undefined {
  for (const token of [entry.identitytoken, entry.registrytoken, entry.auth]) if (token) hideSecret(token);
  if (entry.identitytoken) return { kind: 'identity-token', token: entry.identitytoken };
  if (entry.registrytoken) return { kind: 'registry-token', token: entry.registrytoken };
  if (entry.username && entry.password !== undefined) return password(entry.username, entry.password);
  if (!entry.auth) return undefined;
  const decoded = Buffer.from(entry.auth, 'base64').toString('utf8').replace(/\0+$/, '');
  const colon = decoded.indexOf(':');
  if (colon < 0)
    throw new RafterError('MALFORMED', `${path}: auths[${JSON.stringify(key)}].auth is not USER:PASSWORD`);
  return password(decoded.slice(0, colon), decoded.slice(colon + 1));
}

async function askHelper(helper: string, server: string): Promise<Login | undefined> {
  const answer = await askCredentialHelper(helper, server);
  if (answer === undefined) return undefined;
  const { username, secret } = answer;
  return username === TOKEN_USER ? { kind: 'identity-token', token: secret } : password(username, secret);
}

function password(username: string, secret: string): Login {
  hideSecret(secret);
  return { kind: 'password', username, password: secret };
}
