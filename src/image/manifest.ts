import * as v from 'valibot';
import { RafterError } from '../errors.js';
import { type Descriptor, descriptorSchema } from './descriptor.js';
import { checkShape, type JsonObject, parseJsonObject } from './json.js';
import { isIndexType, isManifestType, OCI_INDEX, OCI_MANIFEST } from './media-types.js';
import { printable } from './printable.js';

/** Most bytes of a manifest or index. Registries take at least 4 MiB (OCI distribution spec). */
export const MAX_MANIFEST_SIZE = 8 << 20;
/** Most layers of a manifest. Docker's limit is 127; artifacts have more. */
export const MAX_LAYERS = 4096;
/** Most manifests in one index. */
export const MAX_INDEX_ENTRIES = 4096;

/** The manifest of one image (or artifact). */
export interface Manifest {
  kind: 'manifest';
  schemaVersion: 2;
  mediaType: string;
  config: Descriptor;
  layers: Descriptor[];
  annotations?: Record<string, string> | undefined;
  subject?: Descriptor | undefined;
  artifactType?: string | undefined;
  /** All members as parsed, also those that are not known here. */
  raw: JsonObject;
}

/** A list of manifests, usually one per platform. */
export interface Index {
  kind: 'index';
  schemaVersion: 2;
  mediaType: string;
  manifests: Descriptor[];
  annotations?: Record<string, string> | undefined;
  subject?: Descriptor | undefined;
  artifactType?: string | undefined;
  raw: JsonObject;
}

const common = {
  schemaVersion: v.literal(2),
  mediaType: v.optional(v.string()),
  annotations: v.nullish(v.record(v.string(), v.string())),
  subject: v.nullish(descriptorSchema),
  artifactType: v.optional(v.string()),
};

const manifestSchema = v.object({
  ...common,
  config: descriptorSchema,
  layers: v.pipe(v.array(descriptorSchema), v.maxLength(MAX_LAYERS)),
});

const indexSchema = v.object({
  ...common,
  manifests: v.pipe(v.array(descriptorSchema), v.maxLength(MAX_INDEX_ENTRIES)),
});

/**
 * Reads a manifest or index of OCI or Docker (schema 2). `name` says in errors whose it is; `declaredType` is the media type
 * that its descriptor or the registry gave, used where the JSON has none. Errors: LIMIT_EXCEEDED above
 * MAX_MANIFEST_SIZE, MALFORMED with the field's path, UNSUPPORTED for other kinds of manifest.
 */
export function parseManifest(bytes: Buffer, name: string, declaredType?: string): Manifest | Index {
  const raw = parseJsonObject(bytes, MAX_MANIFEST_SIZE, name);
  if (raw.schemaVersion === 1) {
    throw new RafterError('UNSUPPORTED', `${name}: a manifest of Docker's schema version 1`, {
      hint: 'push the image again with a current tool: schema 1 was given up in 2019',
    });
  }
  const hasManifests = raw.manifests !== undefined;
  const hasLayers = raw.layers !== undefined || raw.config !== undefined;
  if (hasManifests && hasLayers) {
    throw new RafterError('MALFORMED', `${name}: has the members of a manifest and of an index`);
  }
  const type = typeof raw.mediaType === 'string' ? raw.mediaType : declaredType;
  checkType(type, hasManifests, name);
  if (!hasManifests && !hasLayers) {
    throw new RafterError(
      'MALFORMED',
      `${name}: neither a manifest (config, layers) nor an index (manifests)`,
    );
  }
  return hasManifests
    ? readIndex(raw, type ?? OCI_INDEX, name)
    : readManifest(raw, type ?? OCI_MANIFEST, name);
}

/** As `parseManifest`, but MALFORMED for an index. */
export function parseImageManifest(bytes: Buffer, name: string, declaredType?: string): Manifest {
  const parsed = parseManifest(bytes, name, declaredType);
  if (parsed.kind === 'index') {
    throw new RafterError('MALFORMED', `${name}: an index where the manifest of one image was expected`);
  }
  return parsed;
}

function readManifest(raw: JsonObject, mediaType: string, name: string): Manifest {
  const { config, layers, ...rest } = checkShape(manifestSchema, raw, name);
  return { kind: 'manifest', ...members(rest), mediaType, config, layers, raw };
}

function readIndex(raw: JsonObject, mediaType: string, name: string): Index {
  const { manifests, ...rest } = checkShape(indexSchema, raw, name);
  return { kind: 'index', ...members(rest), mediaType, manifests, raw };
}

type Common = v.InferOutput<ReturnType<typeof v.object<typeof common, undefined>>>;

function members({ annotations, subject, artifactType }: Common) {
  return {
    schemaVersion: 2 as const,
    ...(annotations == null ? {} : { annotations }),
    ...(subject == null ? {} : { subject }),
    ...(artifactType === undefined ? {} : { artifactType }),
  };
}

/** A media type that says the one and members that say the other could be read differently by two programs. */
function checkType(type: string | undefined, hasManifests: boolean, name: string): void {
  if (type === undefined || (hasManifests ? isIndexType(type) : isManifestType(type))) return;
  if (isIndexType(type) || isManifestType(type)) {
    throw new RafterError('MALFORMED', `${name}: mediaType ${type} does not fit its members`);
  }
  throw new RafterError('UNSUPPORTED', `${name}: no image manifest but ${printable(type)}`);
}
