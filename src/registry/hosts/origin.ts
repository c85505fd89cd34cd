import { isIP } from 'node:net';
import { RafterError } from '../../errors.js';
import type { RegistryOptions } from '../options.js';

/**
 * Where the API of `registry` (host with or without port) begins. HTTP without TLS only if that was asked for, or for this
 * machine itself; never because TLS failed. USAGE if options contradict each other.
 */
export function originApi(registry: string, options: RegistryOptions): URL {
  const { caFile, certFile } = options;
  const plainHttp = askedPlainHttp(registry, options);
  const hasTlsFiles = caFile !== undefined || certFile !== undefined;
  if (plainHttp && hasTlsFiles) {
    throw new RafterError('USAGE', `${registry}: plain HTTP and certificates were both asked for`);
  }
  const isPlain = plainHttp || (plainHttp === undefined && !hasTlsFiles && isLoopback(registry));
  return new URL(`${isPlain ? 'http' : 'https'}://${registry}/v2`);
}

/** What was asked for about HTTP without TLS for `registry`; undefined: nothing. A list says nothing of those not in it. */
export function askedPlainHttp(registry: string, { plainHttp }: RegistryOptions): boolean | undefined {
  if (plainHttp === undefined || typeof plainHttp === 'boolean') return plainHttp;
  return plainHttp.includes(registry) ? true : undefined;
}

/** True if the host (with or without port) is this machine by its very name. */
export function isLoopback(registry: string): boolean {
  const host = registry.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  if (host === 'localhost' || host.endsWith('.localhost')) return true;
  return isIP(host) === 4 ? host.startsWith('127.') : host === '::1';
}

/** True for addresses of this machine, of private networks and of the link, and for localhost. Names are not looked up. */
export function isInside({ hostname }: URL): boolean {
  const host = hostname.replace(/^\[|\]$/g, '');
  if (isOnlyHere(host)) return true;
  if (isIP(host) === 4) return /^(?:10|172\.(?:1[6-9]|2\d|3[01])|192\.168)\./.test(host);
  return isIP(host) === 6 && /^(?:::ffff:|f[cd])/i.test(host);
}

/** True for addresses of this machine and its link, where clouds serve secrets to whoever asks. Names are not looked up. */
export function isOnlyHere(host: string): boolean {
  const name = host.replace(/^\[|\]$/g, '');
  if (isLoopback(name)) return true;
  if (isIP(name) === 4) return /^(?:0|127|169\.254)\./.test(name);
  return isIP(name) === 6 && /^(?:::1?$|fe[89ab])/i.test(name);
}
