import type { Command } from 'commander';
import type { Trace } from '../../trace/trace.js';
import { addCommonOptions, type CommandContext, withContext } from '../context.js';
import { EXIT } from '../exit-codes.js';
import { formatBytes } from '../format.js';
import { addImageOptions, type ImageCliOptions } from '../image-options.js';
import { readTraces } from '../optimize-image.js';

type SetExitCode = (code: number) => void;

interface ShowOptions extends ImageCliOptions {
  image?: string;
  html?: string;
}

/** `rafter trace show | merge | save` */
export function defineTrace(program: Command, setExitCode: SetExitCode): void {
  const trace = program
    .command('trace')
    .description('what containers read while they start (mount --trace, run --trace)');
  defineShow(trace, setExitCode);
  defineMerge(trace, setExitCode);
  defineSave(trace, setExitCode);
}

function defineShow(trace: Command, setExitCode: SetExitCode): void {
  const command = trace
    .command('show')
    .description('what was read of which file and when, and what was waited for')
    .argument('<file...>', 'traces of one image; several are merged')
    .option('--image <image>', 'where the image is (default: as the trace says)')
    .option('--html <file>', 'draw it: one page that needs no network')
    .addHelpText(
      'after',
      `
Of the image only the metadata is read. Bytes are those of whole pages of 4 KiB, decoded.

Example:
  rafter trace show --html start.html start.trace`,
    );
  addImageOptions(command).action(async (files: string[], options: ShowOptions) =>
    setExitCode(await withContext(command, (context) => show(context, files, options))),
  );
}

async function show(context: CommandContext, files: string[], options: ShowOptions): Promise<number> {
  const [{ mergeTraces }, { summarizeTrace }, { traceJson, traceText }] = await Promise.all([
    import('../../trace/merge.js'),
    import('../trace-image.js'),
    import('../trace-text.js'),
  ]);
  const merged = mergeTraces(await readTraces(files));
  const summary = await summarizeTrace(context, merged, options);
  if (options.html !== undefined) {
    const [{ tracePage }, { writeWholeFile }] = await Promise.all([
      import('../../trace/html.js'),
      import('../../os/whole-file.js'),
    ]);
    await writeWholeFile(options.html, tracePage(merged, summary), { mode: 0o644 });
  }
  context.output.result(traceJson(merged, summary), traceText(merged, summary));
  return EXIT.ok;
}

function defineMerge(trace: Command, setExitCode: SetExitCode): void {
  const command = trace
    .command('merge')
    .description('make one trace of several runs of an image, also of different commands')
    .argument('<file...>', 'traces')
    .requiredOption('-o, --output <file>', 'where the result goes')
    .addHelpText(
      'after',
      `
What several runs read early comes first.

Example:
  rafter trace merge -o python.trace serve.trace migrate.trace`,
    );
  addCommonOptions(command).action(async (files: string[], { output: target }: { output: string }) =>
    setExitCode(
      await withContext(command, async ({ output }) => {
        const { mergeTraces } = await import('../../trace/merge.js');
        const merged = mergeTraces(await readTraces(files));
        return writeTrace(output, target, { trace: merged, of: `${files.length} traces, ` });
      }),
    ),
  );
}

function defineSave(trace: Command, setExitCode: SetExitCode): void {
  const command = trace
    .command('save')
    .description('write what was read until now of an image that stays mounted (mount --trace)')
    .argument('<dir>', 'where it is mounted')
    .argument('<file>', 'where the trace goes')
    .addHelpText(
      'after',
      `
Example:
  rafter trace save /mnt/python python.trace`,
    );
  addCommonOptions(command).action(async (directory: string, target: string) =>
    setExitCode(
      await withContext(command, async ({ options: { runDir }, output, signal }) => {
        const { mountTrace } = await import('../../mount/client/client.js');
        const saved = await mountTrace({ runDir, signal }, { mountpoint: directory });
        return writeTrace(output, target, { trace: saved });
      }),
    ),
  );
}

/** Writes the trace and says how much is in it, after what it is made `of`. */
async function writeTrace(
  output: CommandContext['output'],
  file: string,
  { trace, of = '' }: { trace: Trace; of?: string },
): Promise<number> {
  const [{ writeTraceFile }, { touchedBytes }] = await Promise.all([
    import('../../mount/trace/trace-file.js'),
    import('../../trace/trace.js'),
  ]);
  await writeTraceFile(file, trace);
  const touches = trace.touches.length;
  const bytes = touchedBytes(trace);
  output.done({ file, touches, bytes }, `${file}: ${of}${touches} touches of ${formatBytes(bytes)}`);
  return EXIT.ok;
}
