import { type Command, Option } from 'commander';
import {
  accessOptions,
  addCommonOptions,
  addRegistryOptions,
  type CommandContext,
  type RegistryCliOptions,
  withContext,
} from '../context.js';
import { daemonPlace } from '../daemon-place.js';
import { EXIT } from '../exit-codes.js';
import { formatBytes } from '../format.js';
import { NYDUS_IMAGE_FORMS } from '../image-forms.js';
import {
  addServingOptions,
  type ServingCliOptions,
  servingAccess,
  servingRequest,
} from '../serving-options.js';
import { addCacheSizeOption } from '../size.js';
import { addTraceOptions, readAheadOf, type TraceCliOptions, traceFile } from '../trace-options.js';
import { sayWaiting } from '../waiting.js';

interface MountCliOptions extends RegistryCliOptions, ServingCliOptions, TraceCliOptions {
  cacheSize?: number;
  platform?: string;
  driver?: 'auto' | 'erofs' | 'fuse';
  transport?: 'device' | 'libfuse';
  backing?: 'auto' | 'file' | 'loop';
  writable?: boolean;
  upper?: string;
}

/** `rafter mount IMAGE DIR` */
export function defineMount(program: Command, setExitCode: (code: number) => void): void {
  const command = program
    .command('mount')
    .description('mount a converted image; its data is fetched when it is read')
    .argument('<image>', NYDUS_IMAGE_FORMS)
    .argument('<dir>', 'an existing directory')
    .option('--platform <os/arch>', 'which image of an index (default: this machine)')
    .addOption(
      new Option(
        '--driver <name>',
        'what serves the tree: the kernel (erofs) or the daemon (fuse); default: the best that works',
      ).choices(['auto', 'erofs', 'fuse']),
    )
    .addOption(
      new Option(
        '--transport <name>',
        'how the driver fuse speaks to the kernel (default: device for root, else libfuse)',
      ).choices(['device', 'libfuse']),
    )
    .addOption(
      new Option(
        '--backing <kind>',
        'what the driver erofs has the kernel read from: files, or loop devices of them (default: files from Linux 6.12 on)',
      ).choices(['auto', 'file', 'loop']),
    )
    .option('--writable', 'let the tree be written to; what is written is gone at unmount')
    .option('--upper <dir>', 'the same, but keep what is written in this directory, for the next time')
    .addHelpText(
      'after',
      `
The command returns when the tree is there. A daemon in the background serves it; rafter umount ends it.

Example:
  rafter mount registry.example.com/python:3.12-nydus /mnt/python`,
    );
  addTraceOptions(command, 'when it is unmounted');
  addCacheSizeOption(addServingOptions(addRegistryOptions(addCommonOptions(command)))).action(
    async (image: string, directory: string, options: MountCliOptions) =>
      setExitCode(await withContext(command, (context) => mount(context, image, directory, options))),
  );
}

async function mount(
  context: CommandContext,
  image: string,
  directory: string,
  options: MountCliOptions,
): Promise<number> {
  const { mountImage } = await import('../../mount/client/client.js');
  const mounting = mountImage(daemonPlace(context, options), {
    reference: image,
    mountpoint: directory,
    ...(options.platform !== undefined && { platform: options.platform }),
    ...(options.driver !== undefined && { driver: options.driver }),
    ...(options.transport !== undefined && { transport: options.transport }),
    ...(options.backing !== undefined && { backing: options.backing }),
    ...servingRequest(options),
    ...((options.writable || options.upper !== undefined) && {
      writable: { ...(options.upper !== undefined && { directory: options.upper }) },
    }),
    ...readAheadOf(options),
    ...(options.trace !== undefined && {
      trace: {
        file: traceFile(options.trace),
        owner: { uid: process.geteuid!(), gid: process.getegid!() },
      },
    }),
    access: await servingAccess(image, accessOptions(options), options),
  });
  const {
    config: _config,
    steps: _steps,
    ...mounted
  } = await mounting.finally(sayWaiting(`mounting ${image}`, context.output));
  for (const warning of mounted.warnings) context.output.warn(warning);
  const { mountpoint, imageSize, metadataBytes, driver, backing, driverReason } = mounted;
  const how = backing === 'loop' ? `${driver}, loop devices` : driver;
  context.output.result(
    mounted,
    `${mountpoint}: image of ${formatBytes(imageSize)} mounted (driver ${how}${driverReason === undefined ? '' : `: ${driverReason}`}), ` +
      `${formatBytes(metadataBytes)} downloaded`,
  );
  return EXIT.ok;
}
