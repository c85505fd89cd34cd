import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where this machine's configuration of registry hosts is looked for. What does not exist counts as empty. */
export interface HostPlaces {
  /** Directories with a directory of certificates per host, as Docker and containers/image have them. */
  certsDirs: string[];
  /** Directory with a directory per host that holds a `hosts.toml`, as containerd has it. */
  hostsDir: string;
  /** Files of containers-registries.conf(5); the first that exists counts. */
  registriesConf: string[];
  /** Directories whose `*.conf` files add to that, in this order. */
  registriesConfDirs: string[];
}

/**
 * The usual places. RAFTER_CERTS_DIRS (directories with colons between them), RAFTER_HOSTS_DIR and CONTAINERS_REGISTRIES_CONF
 * name others; with the last, no drop-in directories are read.
 */
export function hostPlaces(env: NodeJS.ProcessEnv): HostPlaces {
  const home = env.HOME || homedir();
  const config = env.XDG_CONFIG_HOME || join(home, '.config');
  const own = env.CONTAINERS_REGISTRIES_CONF;
  return {
    certsDirs: env.RAFTER_CERTS_DIRS?.split(':').filter((path) => path !== '') ?? [
      join(config, 'containers/certs.d'),
      join(config, 'docker/certs.d'),
      '/etc/containers/certs.d',
      '/etc/docker/certs.d',
    ],
    hostsDir: env.RAFTER_HOSTS_DIR || '/etc/containerd/certs.d',
    registriesConf: own
      ? [own]
      : [join(config, 'containers/registries.conf'), '/etc/containers/registries.conf'],
    registriesConfDirs: own
      ? []
      : ['/etc/containers/registries.conf.d', join(config, 'containers/registries.conf.d')],
  };
}
