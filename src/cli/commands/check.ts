import type { Command } from 'commander';
import type { ImageSource } from '../../image/source.js';
import type { CheckResult } from '../../inspect/check-image.js';
import type { Fault } from '../../inspect/faults.js';
import { type CommandContext, withContext } from '../context.js';
import { EXIT } from '../exit-codes.js';
import { formatBytes } from '../format.js';
import { NYDUS_IMAGE_FORMS } from '../image-forms.js';
import { addImageOptions, type ImageCliOptions, withSource } from '../image-options.js';
import { escapeName } from '../names.js';
import { createProgress } from '../progress.js';
import { keepHeapSmall } from '../v8-flags.js';

interface CheckCliOptions extends ImageCliOptions {
  source?: string;
}

/** `rafter check IMAGE` */
export function defineCheck(program: Command, setExitCode: (code: number) => void): void {
  const command = program
    .command('check')
    .description('check every byte of a converted image: manifest, metadata, every chunk')
    .argument('<image>', NYDUS_IMAGE_FORMS)
    .option('--source <image>', 'compare every name, attribute and byte with the image that it was made of')
    .addHelpText(
      'after',
      `
The whole image is read once; nothing is kept. Every fault is a line on stdout, and the exit code is 5 if there is any.

Example:
  rafter check registry.example.com/python:3.12-nydus --source docker.io/library/python:3.12`,
    );
  addImageOptions(command).action(async (image: string, options: CheckCliOptions) =>
    setExitCode(await withContext(command, (context) => check(context, image, options))),
  );
}

async function check(
  { output, signal }: CommandContext,
  image: string,
  options: CheckCliOptions,
): Promise<number> {
  keepHeapSmall();
  const { checkImage } = await import('../../inspect/check-image.js');
  const progress = createProgress({ quiet: output.quiet || output.json });
  const whole = withSource(image, options, async (source) => {
    const { platform } = options;
    const onProgress = (done: number, total: number) => progress.update('reading', done, total);
    const run = (original?: ImageSource) => checkImage(source, { platform, signal, original, onProgress });
    const result = await (options.source === undefined ? run() : withSource(options.source, options, run));
    progress.close();
    for (const warning of result.warnings) output.warn(warning);
    output.result(result, [...result.faults.map(faultText), summary(result)].join('\n'));
    return result.faultCount === 0 ? EXIT.ok : EXIT.damaged;
  });
  return whole.finally(progress.close);
}

function faultText({ part, message, path, blob, chunk, offset }: Fault): string {
  const place = [
    path === undefined ? '' : escapeName(Buffer.from(path)),
    blob === undefined ? '' : `blob ${blob}`,
    chunk === undefined ? '' : `chunk ${chunk}`,
    offset === undefined ? '' : `offset ${offset}`,
  ].filter((text) => text !== '');
  return `${part}: ${place.length === 0 ? '' : `${place.join(', ')}: `}${message}`;
}

function summary({ reference, names, chunks, bytes, faults, faultCount }: CheckResult): string {
  const read = `${names} names, ${chunks} chunks, ${formatBytes(bytes)} of blobs read`;
  if (faultCount === 0) return `${reference}: good (${read})`;
  const more = faultCount > faults.length ? `, ${faults.length} shown` : '';
  return `${reference}: ${faultCount} ${faultCount === 1 ? 'fault' : 'faults'}${more} (${read})`;
}
