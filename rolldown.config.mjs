// Bundles the program from src/ for `npm run build`: a command that loads a few files starts in half the time of one that loads
// hundreds of modules. dist/bundle is what the package holds; the modules of dist/ are for tests and benches.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig } from 'rolldown';

/** Packages with machine code or with threads of their own: they are installed, not bundled. */
const installed = /^(@koromix|@napi-rs|@node-rs)\/|^(fuse-native|koffi|lz4-napi|tinypool|zstd-napi)(\/|$)/;

/** What even `--version` needs, and what commands share with programs and threads that have no use for these. */
const base =
  /src\/(errors|cli\/(colour|exit-codes|interrupt|output|stdout|version)|image\/printable|os\/(package-file|system-error)|mount\/supervisor\/supervisor-protocol)\.ts$/;
/** What parses command lines, and what a container is started with. */
const commandLine =
  /src\/cli\/(commands\/run|context|daemon-place|image-forms|peer-option|program|repeatable|serving-options|size|trace-options|until)\.ts$|src\/run\/exit-codes\.ts$|src\/mount\/read-timeout\.ts$|node_modules\/commander\//;
/** The definitions of all commands, which the help shows together; what they work with they load when they are run. */
const commands = /src\/cli\/commands\/[a-z]+\.ts$/;

/** What a daemon is started with, which needs none of the others. */
const daemonCommand = /src\/cli\/commands\/daemon\.ts$/;

/** How commands speak to the daemon, and, as a file of its own, what they have in common with threads and the supervisor. */
const client =
  /src\/(run\/run-reference|mount\/(api\/(api-client|exchange)|client\/(client|data-root|run-dir)|steps)|os\/private-directory|image\/(digest|reference))\.ts$/;
const startDaemon = /src\/mount\/(log-file|client\/start-daemon)\.ts$/;
const system =
  /src\/(os\/(errno|file-lock|libc|native-package|process|random)|mount\/daemon\/service-manager)\.ts$/;

const common = {
  platform: 'node',
  logLevel: 'warn',
  external: installed,
};
const output = {
  dir: 'dist/bundle',
  // Node.js 20 needs 15 ms for the first ES module and none for CommonJS.
  format: 'cjs',
  entryFileNames: '[name].js',
  chunkFileNames: '[name].js',
  comments: false,
};

const program = {
  ...common,
  input: {
    main: 'src/cli/main.ts',
    // Programs and threads of their own, which are started by the names of their files.
    'supervisor-main': 'src/mount/supervisor/supervisor-main.ts',
    'pack-worker': 'src/codec/pack-worker.ts',
    'unpack-worker': 'src/codec/unpack-worker.ts',
  },
  plugins: [
    { name: 'ascii', generateBundle: escapeOthers },
    { name: 'commander', transform: loadProgramsLate },
    { name: 'package-files', generateBundle: addPackageFiles },
    { name: 'imports', renderChunk: importOutside },
    { name: 'http1', renderChunk: leaveHttp2Out },
  ],
  output: {
    ...output,
    cleanDir: true,
    codeSplitting: {
      groups: [
        { name: 'base', test: base, priority: 2 },
        { name: 'valibot', test: /node_modules\/valibot\//, priority: 2 },
        { name: 'system', test: system, priority: 2 },
        { name: 'client', test: client, priority: 2 },
        { name: 'start-daemon', test: startDaemon, priority: 2 },
        { name: 'command-line', test: commandLine, priority: 2 },
        { name: 'daemon-command', test: daemonCommand, priority: 2 },
        { name: 'commands', test: commands, priority: 1 },
      ],
    },
  },
};

/**
 * The thread that a first mount waits for, all in one file: of the files that programs share it would load ten times as much as it needs,
 * while the daemon has better use for the processor.
 */
const reader = {
  ...common,
  input: { 'fuse-reader': 'src/mount/drivers/fuse-reader.ts' },
  // None of its modules does anything but define what others use.
  treeshake: { moduleSideEffects: false, manualPureFunctions: ['v', 'promisify'] },
  plugins: [{ name: 'ascii', generateBundle: escapeOthers }],
  output: { ...output, codeSplitting: false },
};

export default defineConfig([program, reader]);

/** commander runs commands that are programs of their own, which there are none of here: what that needs takes 4 ms to load. */
function loadProgramsLate(code, id) {
  if (!id.endsWith('/commander/lib/command.js')) return null;
  const early = "const childProcess = require('node:child_process');";
  if (!code.includes(early)) throw new Error(`${id}: there is no '${early}' any more`);
  return code.replace(
    early,
    "const childProcess = { spawn: (...how) => require('node:child_process').spawn(...how) };",
  );
}

/**
 * ES modules, tinypool, are imported by bin/rafter: code that Node.js has not loaded itself cannot without a warning. What comes with
 * Node.js must be there for programs, too, that are started without bin/rafter.
 */
function importOutside(code) {
  const [builtin] = /\bimport\("node:[^"]*"\)/.exec(code) ?? [];
  if (builtin) throw new Error(`the bundle has ${builtin}: import it at the top of its module`);
  return code.replace(/\bimport\("/g, 'module.import("');
}

/**
 * Lets undici do without HTTP/2, as it does where Node.js was built without: it is never spoken (no connection offers it), but would be
 * loaded at each start, for 10 ms and 2 MB.
 */
function leaveHttp2Out(code) {
  const without = code.replace('http2 = require("node:http2")', 'throw new Error("no HTTP/2")');
  if (/\brequire\("(?:node:)?http2"\)/.test(without)) throw new Error('the bundle loads HTTP/2');
  return without;
}

/**
 * Writes what is not ASCII as escapes, which mean the same in strings and patterns: V8 keeps a source with a single other character
 * in twice as much memory, as long as one of its functions lives.
 */
function escapeOthers(_, bundle) {
  const asEscape = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  for (const chunk of Object.values(bundle))
    if (chunk.type === 'chunk') chunk.code = chunk.code.replace(/[^\t\n\r -~]/g, asEscape);
}

/** Says that the files are CommonJS, and under which licences the packages in them stand. */
function addPackageFiles(_, bundle) {
  const modules = Object.values(bundle).flatMap((chunk) => Object.keys(chunk.modules ?? {}));
  const folders = modules.map((id) => /^\0?(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(id)?.[1]);
  const packages = [...new Set(folders)].filter((folder) => folder !== undefined).map(describePackage);
  const text = packages.toSorted().join(`\n${'-'.repeat(80)}\n\n`);
  const emit = (fileName, source) => this.emitFile({ type: 'asset', fileName, source });
  emit('package.json', `${JSON.stringify({ type: 'commonjs' })}\n`);
  emit('THIRD-PARTY.txt', `The files beside this one contain these packages.\n\n${text}`);
}

function describePackage(folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const files = readdirSync(folder).filter((file) => /^(licen[cs]e|notice)(\.|$)/i.test(file));
  if (files.length === 0) throw new Error(`${name} comes without a licence text: it cannot be bundled`);
  const texts = files.map((file) => readFileSync(join(folder, file), 'utf8').trim());
  return `${name} ${version} (${license})\n\n${texts.join('\n\n')}\n`;
}
