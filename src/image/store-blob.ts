import type { Digest } from './descriptor.js';
import type { ImageTarget } from './target.js';

/**
 * Stores what `produce` writes as a blob, and gives its name and what `produce` returned. Nothing of it is left at `target` if `produce`
 * or the target throws.
 */
export async function storeBlob<T>(
  target: ImageTarget,
  signal: AbortSignal | undefined,
  produce: (write: (bytes: Buffer) => Promise<void>) => Promise<T>,
): Promise<{ stored: { digest: Digest; size: number }; result: T }> {
  const writer = await target.createBlob(signal);
  try {
    const result = await produce((bytes) => writer.write(bytes));
    return { stored: await writer.commit(), result };
  } catch (error) {
    await writer.abort();
    throw error;
  }
}
