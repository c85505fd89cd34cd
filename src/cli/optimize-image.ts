import { open } from 'node:fs/promises';
import { errnoOf, RafterError } from '../errors.js';
import type { OptimizeSummary } from '../optimize/optimize.js';
import { systemReason } from '../os/system-error.js';
import type { Trace } from '../trace/trace.js';
import type { CommandContext } from './context.js';
import { formatBytes, formatImage } from './format.js';
import { privateTemp } from './private-temp.js';
import { createProgress } from './progress.js';
import { sideOptions, type TwoSidedOptions } from './side-options.js';

/** Reads the traces in `files`. Throws NOT_FOUND or FAILED naming the file, and what `parseTrace` throws. */
export async function readTraces(files: readonly string[]): Promise<Trace[]> {
  const { MAX_TRACE_SIZE, parseTrace } = await import('../trace/trace.js');
  const traces: Trace[] = [];
  for (const path of files) traces.push(parseTrace(await readBounded(path, MAX_TRACE_SIZE), path));
  return traces;
}

/** The file, or one byte more than `limit` of it. */
async function readBounded(path: string, limit: number): Promise<Buffer> {
  try {
    const file = await open(path);
    try {
      const { size } = await file.stat();
      if (size > limit) return Buffer.alloc(limit + 1);
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    const errno = errnoOf(error);
    const words = { ENOENT: 'no such file', EISDIR: 'it is a directory' }[errno ?? ''] ?? systemReason(error);
    throw new RafterError(
      errno === 'ENOENT' ? 'NOT_FOUND' : 'FAILED',
      `cannot read the trace ${path}: ${words}`,
      {
        cause: error,
        hint: 'rafter run --trace FILE and rafter trace save MOUNTPOINT FILE write one',
      },
    );
  }
}

/** Makes `target` of `image` and what `traces` saw it read, and prints what came of it. */
export async function optimizeTo(
  { output, signal, options: { dataRoot } }: Pick<CommandContext, 'output' | 'signal' | 'options'>,
  { image, target }: { image: string; target: string },
  { traces, options }: { traces: readonly Trace[]; options: TwoSidedOptions & { platform?: string } },
): Promise<void> {
  const [{ optimizeImage }, { openSource, openTarget }, { parseReference }] = await Promise.all([
    import('../optimize/optimize.js'),
    import('../transports/open.js'),
    import('../image/reference.js'),
  ]);
  const tempDir = privateTemp(dataRoot);
  const access = sideOptions(options);
  const source = openSource(parseReference(image), access.source);
  const progress = createProgress({ quiet: output.quiet || output.json });
  try {
    const summary = await optimizeImage({
      source,
      target: openTarget(parseReference(target), access.target),
      traces,
      platform: options.platform,
      tempDir,
      signal,
      onProgress: (step, done, total) =>
        progress.update(step === 'pack' ? 'start-up pack' : target, done, total),
    });
    progress.close();
    for (const warning of summary.warnings) output.warn(warning);
    output.result(summary, textOf(summary, target));
  } finally {
    progress.close();
    await source.close();
  }
}

/** Attaches what `traces` saw of `image` to it, and prints what came of it. */
export async function attachTo(
  { output, signal, options: { dataRoot } }: Pick<CommandContext, 'output' | 'signal' | 'options'>,
  image: string,
  { traces, options }: { traces: readonly Trace[]; options: TwoSidedOptions & { platform?: string } },
): Promise<void> {
  const [{ attachProfile }, { openSource, openTarget }, { parseReference }] = await Promise.all([
    import('../optimize/attach.js'),
    import('../transports/open.js'),
    import('../image/reference.js'),
  ]);
  const tempDir = privateTemp(dataRoot);
  const access = sideOptions(options);
  const reference = parseReference(image);
  const source = openSource(reference, access.source);
  try {
    const summary = await attachProfile({
      source,
      openTarget: () => openTarget(reference, access.target),
      traces,
      platform: options.platform,
      tempDir,
      signal,
    });
    for (const warning of summary.warnings) output.warn(warning);
    const { digest, subject, profile, chunkBytes } = summary;
    output.result(
      summary,
      `${digest}\n` +
        `start-up profile of ${profile.chunks} chunks (${formatBytes(chunkBytes)}) attached to ${subject}`,
    );
  } finally {
    await source.close();
  }
}

function textOf({ digest, pack, chunkBytes }: OptimizeSummary, target: string): string {
  return (
    `${formatImage(target, digest)}\n` +
    `start-up pack of ${formatBytes(pack.size)}, decoded ${formatBytes(pack.decodedSize)} in ${pack.pieces} pieces; ` +
    `the chunks that they are in have ${formatBytes(chunkBytes)}`
  );
}
