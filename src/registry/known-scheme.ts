import { isPlainTextAnswer } from './error.js';
import type { Endpoint } from './hosts/endpoint.js';
import { discardBody, type Transport } from './transport.js';

/** A server that may be without TLS, because the machine's configuration says so, is tried with it first. */
export async function withKnownScheme(
  endpoint: Endpoint,
  transport: Transport,
  signal?: AbortSignal,
): Promise<Endpoint> {
  if (!endpoint.mayBePlain || endpoint.api.protocol !== 'https:') return endpoint;
  try {
    await discardBody(await transport.send({ method: 'GET', url: new URL(`${endpoint.api}/`), signal }));
    return endpoint;
  } catch (error) {
    if (!isPlainTextAnswer(error)) throw error;
    const api = new URL(endpoint.api);
    api.protocol = 'http:';
    return { ...endpoint, api };
  }
}
