import type { Command } from 'commander';
import type { Change } from '../../inspect/compare.js';
import { type CommandContext, withContext } from '../context.js';
import { EXIT } from '../exit-codes.js';
import { IMAGE_FORMS } from '../image-forms.js';
import { addImageOptions, type ImageCliOptions, withSource } from '../image-options.js';
import { escapeName, jsonName } from '../names.js';

/** As diff(1): the images are different. */
const EXIT_DIFFERENT = 1;

/** `rafter diff IMAGE IMAGE` */
export function defineDiff(program: Command, setExitCode: (code: number) => void): void {
  const command = program
    .command('diff')
    .description('show in which files two images, converted or not, are different')
    .argument('<before>', IMAGE_FORMS)
    .argument('<after>', IMAGE_FORMS)
    .addHelpText(
      'after',
      `
One line per path: + only in AFTER, - only in BEFORE, ~ in both with what is different. Contents are compared by the
digests of their chunks if both images have the same chunk size; otherwise they are downloaded.

Exit code 0: no difference; 1: differences; 1 with a line on stderr, or a higher one: the images could not be compared.

Example:
  rafter diff registry.example.com/python:3.12-nydus registry.example.com/python:3.13-nydus`,
    );
  addImageOptions(command).action(async (before: string, after: string, options: ImageCliOptions) =>
    setExitCode(await withContext(command, (context) => diff(context, [before, after], options))),
  );
}

async function diff(
  { output, signal }: CommandContext,
  [before, after]: [string, string],
  options: ImageCliOptions,
): Promise<number> {
  const [{ diffImages }, { differencesText }] = await Promise.all([
    import('../../inspect/diff-images.js'),
    import('../../inspect/compare.js'),
  ]);
  const { platform } = options;
  const changes = await withSource(before, options, (first) =>
    withSource(after, options, (second) => diffImages(first, second, { platform, signal })),
  );
  const json = changes.map(({ path, ...change }) => ({
    ...jsonName('path', Buffer.from(path, 'latin1')),
    ...change,
  }));
  if (output.json || changes.length > 0) {
    output.result(
      { changes: json },
      changes.map((change) => changeText(change, differencesText(change.differences))).join('\n'),
    );
  }
  return changes.length === 0 ? EXIT.ok : EXIT_DIFFERENT;
}

const signs = { added: '+', removed: '-', changed: '~' };

function changeText({ path, kind }: Change, differences: string): string {
  const shown = escapeName(Buffer.from(path, 'latin1'));
  return `${signs[kind]} ${shown}${differences && `: ${escapeName(Buffer.from(differences, 'latin1'))}`}`;
}
