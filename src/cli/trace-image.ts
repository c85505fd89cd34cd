import { summarize, type TraceSummary } from '../trace/summary.js';
import type { Trace } from '../trace/trace.js';
import type { CommandContext } from './context.js';
import { type ImageCliOptions, withSource } from './image-options.js';

/** Reads the metadata of the image that `trace` is of, or of `image`, and puts the trace beside it. */
export function summarizeTrace(
  { signal }: CommandContext,
  trace: Trace,
  options: ImageCliOptions & { image?: string },
): Promise<TraceSummary> {
  return withSource(options.image ?? trace.reference, options, async (source) => {
    const { openImage } = await import('../inspect/open-image.js');
    const image = await openImage(source, { platform: options.platform, signal });
    const { bootstrap } = image;
    const maps = await Promise.all(bootstrap.blobs.map((_, index) => image.layout(index)));
    return summarize(trace, { bootstrap, maps });
  });
}
