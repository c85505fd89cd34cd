import { messageOf } from '../errors.js';
import { summarize, type TraceSummary } from '../trace/summary.js';
import type { Trace } from '../trace/trace.js';
import type { CommandContext } from './context.js';
import { type ImageCliOptions, withSource } from './image-options.js';

/** Reads the metadata of the image that `trace` is of, or of `image`, and puts the trace beside it. */
export function summarizeTrace(
  { signal, output }: CommandContext,
  trace: Trace,
  options: ImageCliOptions & { image?: string },
): Promise<TraceSummary> {
  return withSource(options.image ?? trace.reference, options, async (source) => {
    const { openImage } = await import('../inspect/open-image.js');
    const image = await openImage(source, { platform: options.platform, signal });
    const { bootstrap } = image;
    const maps = await Promise.all(bootstrap.blobs.map((_, index) => image.layout(index)));
    // A run of another manifest, the same image before it was optimized for example, had another pack or none.
    const hadPack = image.descriptor.digest === trace.manifest;
    const { readStartupRanges } = await import('../inspect/startup-ranges.js');
    const pack = hadPack
      ? await readStartupRanges(image, signal).catch((error: unknown) => {
          if (signal?.aborted) throw error;
          output.warn(`what was in the start-up pack is not known: ${messageOf(error)}`);
          return undefined;
        })
      : undefined;
    return summarize(trace, { bootstrap, maps, pack });
  });
}
