import fc from 'fast-check';
import { LayerModel, type ModelNode, type Operation, toTarItem } from './layer-model.js';
import { makeTar } from './tar-writer.js';

/** What random layers may hold. */
interface StackOptions {
  /** Seconds since 1970. Default: what no file system holds is among it. */
  mtime?: { min: number; max: number };
}

// Few names, so that entries meet; some of them odd.
const name = fc.constantFrom('a', 'b', 'c', '-', '\xe9\xff', 'new\nline', 'n'.repeat(255));
const path = fc.array(name, { minLength: 1, maxLength: 4 });
const kind = fc.constantFrom<Operation['kind']>(
  ...(['file', 'file', 'file', 'dir', 'dir', 'dir', 'symlink', 'fifo', 'char', 'block'] as const),
  ...(['hardlink', 'hardlink', 'whiteout', 'opaque'] as const),
);
const content = fc.oneof(
  fc.constantFrom('', 'same', 'x'.repeat(5000)),
  fc.string({ minLength: 1, maxLength: 30, unit: 'grapheme-ascii' }),
  fc.integer({ min: 4000, max: 9000 }).map((size) => 'ab c'.repeat(size / 4)),
);

/** Layers, lowest first, as the operations that they do in order. */
export function layerStack({
  mtime = { min: -(2 ** 33), max: 2 ** 34 },
}: StackOptions = {}): fc.Arbitrary<Operation[][]> {
  const operation: fc.Arbitrary<Operation> = fc.record({
    kind,
    path,
    mode: fc.integer({ min: 0, max: 0o7777 }),
    uid: fc.oneof(fc.integer({ min: 0, max: 100_000 }), fc.constant(4_000_000_000)),
    gid: fc.integer({ min: 0, max: 100_000 }),
    mtime: fc.integer(mtime),
    nsec: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 999_999_999 })),
    content,
    hole: fc.oneof(
      { weight: 4, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.integer({ min: 1, max: 20_000 }) },
    ),
    rdev: fc.tuple(fc.nat(4095), fc.nat(1_048_575)),
    other: path,
    spelling: fc.nat(20),
  });
  return fc.array(fc.array(operation, { maxLength: 25 }), { minLength: 1, maxLength: 4 });
}

/** The same layers with their whiteouts in front. umoci follows the order of a tar where a whiteout makes room for something. */
export function whiteoutsFirst(layers: Operation[][]): Operation[][] {
  const isWhiteout = ({ kind }: Operation) => kind === 'whiteout' || kind === 'opaque';
  return layers.map((layer) => [
    ...layer.filter(isWhiteout),
    ...layer.filter((operation) => !isWhiteout(operation)),
  ]);
}

/** The tars of the layers, and the tree that they make. Operations that cannot be (a file as parent, ...) are left out. */
export function buildLayers(layers: Operation[][]): { tars: Buffer[]; tree: Map<string, ModelNode> } {
  const model = new LayerModel();
  // x/../ in front of a name is a spelling only while x is no symlink; the model has no x.
  const tars = layers.map((layer) => makeTar(model.apply(layer).map(toTarItem)));
  return { tars, tree: model.tree };
}
