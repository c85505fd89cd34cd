import { homedir } from 'node:os';
import { join } from 'node:path';
import { findLogin, findLoginInText, type Login } from './auth-file.js';
import type { RegistryOptions } from './options.js';

/** Finds the log-in for one repository; asked again whenever a token is needed, as log-ins change over days. */
export type CredentialLookup = () => Promise<Login | undefined>;

/**
 * The chain of places where a log-in for `registry` (API host) is looked for; the first that has one counts:
 *
 * 1. `options.credentials`;
 * 2. RAFTER_USERNAME and RAFTER_PASSWORD, only for the host that RAFTER_REGISTRY names: a password must not go to whichever
 *    registry an image happens to be in;
 * 3. DOCKER_AUTH_CONFIG, the text of a config.json (continuous integration systems set it);
 * 4. Docker's config.json: `options.dockerConfig`, else in $DOCKER_CONFIG, else in ~/.docker;
 * 5. containers' auth.json (podman, skopeo): $REGISTRY_AUTH_FILE, else in $XDG_RUNTIME_DIR/containers, then in
 *    $XDG_CONFIG_HOME/containers (~/.config/containers).
 *
 * Those of 3 to 5 may name credential helpers. undefined means anonymous.
 */
export function credentialLookup(
  registry: string,
  repository: string,
  options: RegistryOptions,
): CredentialLookup {
  const { env = process.env } = options;
  return async () => {
    const given = options.credentials ?? fromEnvironment(registry, env);
    if (given !== undefined) return { kind: 'password', ...given };
    if (env.DOCKER_AUTH_CONFIG) {
      const name = 'DOCKER_AUTH_CONFIG';
      const login = await findLoginInText(env.DOCKER_AUTH_CONFIG, { name, registry, repository });
      if (login !== undefined) return login;
    }
    for (const path of authFiles(options, env)) {
      const login = await findLogin(path, registry, repository);
      if (login !== undefined) return login;
    }
    return undefined;
  };
}

function fromEnvironment(registry: string, env: NodeJS.ProcessEnv) {
  const { RAFTER_REGISTRY: host, RAFTER_USERNAME: username, RAFTER_PASSWORD: password } = env;
  const named = host === 'docker.io' ? 'registry-1.docker.io' : host?.toLowerCase();
  if (named !== registry || !username || password === undefined) return undefined;
  return { username, password };
}

function authFiles({ dockerConfig }: RegistryOptions, env: NodeJS.ProcessEnv): string[] {
  const home = env.HOME || homedir();
  const docker = dockerConfig ?? join(env.DOCKER_CONFIG || join(home, '.docker'), 'config.json');
  const containers = env.REGISTRY_AUTH_FILE
    ? [env.REGISTRY_AUTH_FILE]
    : [
        ...(env.XDG_RUNTIME_DIR ? [join(env.XDG_RUNTIME_DIR, 'containers', 'auth.json')] : []),
        join(env.XDG_CONFIG_HOME || join(home, '.config'), 'containers', 'auth.json'),
      ];
  return [docker, ...containers];
}
