import * as v from 'valibot';
import type { Digest } from './descriptor.js';
import { isDigest } from './digest.js';
import { checkShape, type JsonObject, parseJsonObject } from './json.js';

/** Most bytes of an image configuration. */
export const MAX_CONFIG_SIZE = 8 << 20;

const nullish = <T extends v.GenericSchema>(schema: T) => v.nullish(schema);
const strings = nullish(v.array(v.string()));
const set = nullish(v.record(v.string(), v.unknown()));

const runSchema = v.looseObject({
  User: nullish(v.string()),
  Env: strings,
  Entrypoint: strings,
  Cmd: strings,
  WorkingDir: nullish(v.string()),
  ExposedPorts: set,
  Volumes: set,
  Labels: nullish(v.record(v.string(), v.string())),
  StopSignal: nullish(v.string()),
});

const historySchema = v.looseObject({
  created: nullish(v.string()),
  created_by: nullish(v.string()),
  author: nullish(v.string()),
  comment: nullish(v.string()),
  empty_layer: nullish(v.boolean()),
});

const configSchema = v.looseObject({
  os: v.optional(v.string(), ''),
  architecture: v.optional(v.string(), ''),
  variant: nullish(v.string()),
  config: nullish(runSchema),
  rootfs: v.looseObject({
    type: v.optional(v.string(), 'layers'),
    diff_ids: v.optional(v.nullable(v.array(v.pipe(v.string(), v.check(isDigest, 'is not a digest'))))),
  }),
  history: nullish(v.array(historySchema)),
});

/** How the image's container is to be run (OCI image spec, member `config`). Absent and null mean the same. */
export type RunConfig = v.InferOutput<typeof runSchema>;
/** How one layer came to be. `empty_layer`: it made no layer. */
export type HistoryEntry = v.InferOutput<typeof historySchema>;

/** An image configuration. */
export interface ImageConfig {
  os: string;
  architecture: string;
  variant?: string | undefined;
  config: RunConfig;
  /** Digest of each layer's uncompressed tar, lowest layer first. */
  diffIds: Digest[];
  history: HistoryEntry[];
  /** All members as parsed, also those that are not known here. */
  raw: JsonObject;
}

/** Reads an image configuration of OCI or Docker. LIMIT_EXCEEDED above MAX_CONFIG_SIZE, MALFORMED with the field's path. */
export function parseImageConfig(bytes: Buffer, name: string): ImageConfig {
  const raw = parseJsonObject(bytes, MAX_CONFIG_SIZE, name);
  const { os, architecture, variant, config, rootfs, history } = checkShape(configSchema, raw, name);
  return {
    os,
    architecture,
    ...(variant == null ? {} : { variant }),
    config: config ?? {},
    diffIds: rootfs.diff_ids ?? [],
    history: history ?? [],
    raw,
  };
}
