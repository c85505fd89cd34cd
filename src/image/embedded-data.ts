import { RafterError } from '../errors.js';
import { type Descriptor, verifyBytes } from './descriptor.js';

/**
 * The content that a descriptor brings along (OCI image spec, descriptor `data`: base64), so that it need not be fetched. Undefined if there
 * is none, or it is not what digest and size name: the content itself is then to be fetched and judged.
 */
export function embeddedData({ data, digest, size }: Descriptor): Buffer | undefined {
  if (data === undefined) return undefined;
  const bytes = Buffer.from(data, 'base64');
  try {
    verifyBytes(bytes, { digest, size }, digest);
    return bytes;
  } catch (error) {
    if (error instanceof RafterError) return undefined;
    throw error;
  }
}
