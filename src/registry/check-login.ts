import { RafterError } from '../errors.js';
import { createAuthenticator } from './auth.js';
import type { Login } from './auth-file.js';
import { RegistryError } from './error.js';
import { findEndpoints } from './hosts/find-endpoints.js';
import { withKnownScheme } from './known-scheme.js';
import type { RegistryOptions } from './options.js';
import { createTransport, describeRequest, discardBody, readBody } from './transport.js';

/** Most bytes of an error answer that are looked at. */
const MAX_ERROR_BODY = 64 << 10;

/** What a registry says of a log-in. */
export interface CheckedLogin {
  /** The registry answers everybody, so the password has not been looked at. */
  isOpen: boolean;
  /** To be kept in place of the password, if the token server gives such. */
  identityToken: string | undefined;
}

/** Tries user name and password at the registry's `/v2/`. DENIED if they are refused; otherwise errors as for any request. */
export async function checkLogin(
  registry: string,
  login: { username: string; password: string },
  options: RegistryOptions & { signal?: AbortSignal | undefined },
): Promise<CheckedLogin> {
  const { signal } = options;
  const endpoints = await findEndpoints({ registry, repository: 'login' }, options);
  const transport = await createTransport(options, endpoints);
  try {
    const { api, headers: own } = await withKnownScheme(endpoints.at(-1)!, transport, signal);
    let identityToken: string | undefined;
    const given: Login = { kind: 'password', ...login };
    const authenticator = createAuthenticator({
      registry: api,
      transport,
      lookup: async () => given,
      onIdentityToken: (token) => {
        identityToken = token;
      },
    });
    const url = new URL(`${api}/`);
    const what = describeRequest('GET', url);
    const send = (authorization?: string) =>
      transport.send({
        method: 'GET',
        url,
        privateHeaders: { ...own, ...(authorization !== undefined && { authorization }) },
        signal,
      });
    const first = await send();
    if (first.status === 200) {
      await discardBody(first);
      return { isOpen: true, identityToken: undefined };
    }
    const authorization =
      first.status === 401
        ? await authenticator.renew([], first.headers['www-authenticate'], undefined, signal)
        : undefined;
    if (authorization !== undefined) await discardBody(first);
    const answer = authorization === undefined ? first : await send(authorization);
    if (answer.status === 200) {
      await discardBody(answer);
      return { isOpen: false, identityToken };
    }
    const body = await readBody(answer, MAX_ERROR_BODY, what).catch(() => Buffer.alloc(0));
    const hint =
      answer.status === 404 ? 'no registry answers there' : 'the user name or password may be wrong';
    throw new RegistryError(what, { ...answer, body: body.toString('utf8') }, hint);
  } catch (error) {
    if (error instanceof RegistryError && error.status === 401) {
      throw new RafterError('DENIED', `${registry}: the log-in was refused`, {
        cause: error,
        hint: error.message,
      });
    }
    throw error;
  } finally {
    await transport.close();
  }
}
