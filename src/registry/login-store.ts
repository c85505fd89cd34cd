import { realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf, RafterError } from '../errors.js';
import { withDirectoryLock } from '../image/layout/file-lock.js';
import { makeDirectories } from '../os/make-directories.js';
import { systemReason } from '../os/system-error.js';
import { writeWholeFile } from '../os/whole-file.js';
import { type AuthFile, readAuthFile, TOKEN_USER } from './auth-file.js';
import { hostKeys, hostNames } from './auth-keys.js';
import { askCredentialHelper, eraseFromHelper, storeInHelper } from './credential-helper.js';

/** What a user logs in with; an identity token takes the place of the password. */
export interface NewLogin {
  username: string;
  password: string;
  identityToken?: string | undefined;
}

/**
 * Keeps a log-in to `registry` (API host) in Docker's config.json at `path`, as `docker login` does: with the credential helper
 * that the file names for the host or for all, else in the file. Returns the name of the helper, if one has it.
 */
export async function storeLogin(
  path: string,
  registry: string,
  login: NewLogin,
): Promise<string | undefined> {
  return await changeFile(path, async (file) => {
    const [key] = hostNames(registry);
    const helper = helperFor(file, registry);
    const { username, password, identityToken } = login;
    if (helper !== undefined) {
      const secret = identityToken ?? password;
      await storeInHelper(helper, {
        server: key,
        username: identityToken === undefined ? username : TOKEN_USER,
        secret,
      });
      return { file: withEntry(file, key, {}), result: helper };
    }
    const text = `${username}:${identityToken === undefined ? password : ''}`;
    const auth = Buffer.from(text).toString('base64');
    const entry = { auth, ...(identityToken !== undefined && { identitytoken: identityToken }) };
    return { file: withEntry(file, key, entry), result: undefined };
  });
}

/**
 * Forgets the log-in to `registry` in the file at `path` and in the helper that it names. Log-ins to parts of the host stay. False
 * if there was none.
 */
export async function eraseLogin(path: string, registry: string): Promise<boolean> {
  if ((await readAuthFile(path)) === undefined) return false;
  return await changeFile(path, async (file) => {
    const keys = hostKeys(registry).filter((key) => file.auths?.[key] !== undefined);
    const helper = helperFor(file, registry);
    let isInHelper = false;
    if (helper !== undefined) {
      for (const server of hostNames(registry)) {
        if ((await askCredentialHelper(helper, server)) === undefined) continue;
        await eraseFromHelper(helper, server);
        isInHelper = true;
      }
    }
    const auths = Object.entries(file.auths ?? {}).filter(([key]) => !keys.includes(key));
    return {
      file: keys.length === 0 ? undefined : { ...file, auths: Object.fromEntries(auths) },
      result: keys.length > 0 || isInHelper,
    };
  });
}

function helperFor(file: AuthFile, registry: string): string | undefined {
  const own = hostNames(registry)
    .map((name) => file.credHelpers?.[name])
    .find((name) => name !== undefined);
  return own ?? (file.credsStore || undefined);
}

function withEntry(file: AuthFile, key: string, entry: Record<string, string>): AuthFile {
  return { ...file, auths: { ...file.auths, [key]: entry } };
}

/** Lets `change` make another file of this one, whole or not at all and one at a time. Links are followed. */
async function changeFile<T>(
  path: string,
  change: (file: AuthFile) => Promise<{ file: AuthFile | undefined; result: T }>,
): Promise<T> {
  try {
    await makeDirectories(dirname(path), 0o700);
    const target = await realpath(path).catch(() => path);
    return await withDirectoryLock(dirname(target), async () => {
      const { file, result } = await change((await readAuthFile(target)) ?? {});
      if (file !== undefined) {
        const text = `${JSON.stringify(file, undefined, '\t')}\n`;
        await writeWholeFile(target, text, { mode: 0o600 });
      }
      return result;
    });
  } catch (error) {
    if (error instanceof RafterError) throw error;
    const code = ['EACCES', 'EPERM', 'EROFS'].includes(errnoOf(error) ?? '') ? 'DENIED' : 'FAILED';
    throw new RafterError(code, `the file of log-ins cannot be written: ${path}: ${systemReason(error)}`, {
      cause: error,
      hint: 'DOCKER_CONFIG=DIRECTORY names another place for it',
    });
  }
}
