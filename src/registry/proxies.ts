import { BlockList, isIP } from 'node:net';
import { RafterError } from '../errors.js';
import { isLoopback } from './hosts/origin.js';

/**
 * The proxy that the environment names for `url`, or undefined: HTTPS_PROXY or HTTP_PROXY after the scheme, else ALL_PROXY, in
 * lower case or upper case, and nothing that NO_PROXY excepts. This machine itself is never reached through a proxy. USAGE if the
 * variable is not a URL that a proxy can have; its value may hold a password and is not shown.
 */
export function proxyFor(url: URL, env: NodeJS.ProcessEnv): URL | undefined {
  const name = url.protocol === 'https:' ? 'https_proxy' : 'http_proxy';
  const [variable, value] = [name, name.toUpperCase(), 'all_proxy', 'ALL_PROXY']
    .map((key) => [key, env[key]] as const)
    .find(([, text]) => text) ?? ['', ''];
  if (!value || isLoopback(url.host) || isExcepted(url, env.no_proxy ?? env.NO_PROXY ?? '')) return undefined;
  const text = /^[a-z][a-z0-9+.-]*:\/\//i.test(value) ? value : `http://${value}`;
  const proxy = URL.canParse(text) ? new URL(text) : undefined;
  if (proxy !== undefined && /^(https?|socks5h?):$/.test(proxy.protocol)) return proxy;
  throw new RafterError('USAGE', `the environment variable ${variable} is not the URL of a proxy`, {
    hint: 'it should look like http://proxy.example.com:3128; http, https and socks5 are possible',
  });
}

/**
 * NO_PROXY as Go reads it (golang.org/x/net/http/httpproxy): entries with commas or spaces between them; `*`; an address or a
 * network; a name, which means its subdomains too; `.name` or `*.name`, which mean those alone; each with a port, if only
 * that port is meant.
 */
function isExcepted(url: URL, noProxy: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  return noProxy
    .toLowerCase()
    .split(/[\s,]+/)
    .some((entry) => entry !== '' && matchesEntry(entry, host, port));
}

function matchesEntry(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true;
  const network = /^([0-9a-f.:]+)\/(\d{1,3})$/.exec(entry);
  if (network !== null) return isInNetwork(host, network[1]!, Number(network[2]));
  const [, bracketed, named, entryPort] =
    /^(?:\[([^\]]*)\]|([^:]*|[0-9a-f:]*:[0-9a-f:]*))(?::(\d+))?$/.exec(entry) ?? [];
  // Without brackets, the end of an IPv6 address is not a port.
  const isBareV6 = isIP(entry) === 6;
  const name = isBareV6 ? entry : (bracketed ?? named ?? entry);
  if (!isBareV6 && entryPort !== undefined && entryPort !== port) return false;
  if (isIP(name) !== 0) return isInNetwork(host, name, isIP(name) === 4 ? 32 : 128);
  const suffix = name.replace(/^\*/, '');
  return suffix.startsWith('.') ? host.endsWith(suffix) : host === suffix || host.endsWith(`.${suffix}`);
}

function isInNetwork(host: string, address: string, bits: number): boolean {
  const family = isIP(host);
  if (family === 0 || family !== isIP(address) || bits > (family === 4 ? 32 : 128)) return false;
  const type = family === 4 ? 'ipv4' : 'ipv6';
  const network = new BlockList();
  network.addSubnet(address, bits, type);
  return network.check(host, type);
}
