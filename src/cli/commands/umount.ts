import type { Command } from 'commander';
import { RafterError } from '../../errors.js';
import { addCommonOptions, withContext } from '../context.js';
import { EXIT } from '../exit-codes.js';

/** `rafter umount DIR` */
export function defineUmount(program: Command, setExitCode: (code: number) => void): void {
  const command = program
    .command('umount')
    .description('unmount an image')
    .argument('<dir>', 'where it is mounted')
    .option('-l, --lazy', 'also while files on it are open; they stay readable until closed', false)
    .addHelpText(
      'after',
      `
Example:
  rafter umount /mnt/python`,
    );
  addCommonOptions(command).action(async (directory: string, options: { lazy: boolean }) =>
    setExitCode(
      await withContext(command, async ({ options: { runDir }, output, signal }) => {
        const { unmountImage } = await import('../../mount/client/client.js');
        const which = { mountpoint: directory };
        const unmounted = await unmountImage({ runDir, signal }, which, { force: options.lazy });
        output.done({ unmounted: directory }, `${directory}: unmounted`);
        if (unmounted?.traceError === undefined) return EXIT.ok;
        output.error(new RafterError('FAILED', unmounted.traceError));
        return EXIT.failed;
      }),
    ),
  );
}
