import * as v from 'valibot';
import { bytes, digest, text, warnings } from './values.js';

/** `rafter doctor`, of this machine. */
export const machine = v.object({
  ready: v.boolean(),
  findings: v.array(
    v.object({
      check: text,
      status: v.picklist(['ok', 'limited', 'missing']),
      needed: v.array(text),
      found: text,
      meaning: v.optional(text),
      remedy: v.optional(text),
    }),
  ),
});

/** `rafter doctor`, of a registry. */
export const registry = v.object({
  name: text,
  kind: text,
  diagnoses: v.array(
    v.object({
      operation: text,
      result: v.picklist(['works', 'other', 'fails', 'skipped']),
      detail: text,
    }),
  ),
  left: v.array(text),
});

/** `rafter config show`. */
export const configuration = v.object({
  files: v.array(text),
  settings: v.array(
    v.object({
      key: text,
      value: v.optional(v.union([text, v.number(), v.boolean(), v.array(text), v.record(text, text)])),
      from: v.picklist(['flag', 'environment', 'file', 'default']),
      name: v.optional(text),
    }),
  ),
});

/** `rafter preheat`. */
export const preheated = v.object({
  reference: text,
  digest,
  peer: text,
  all: v.boolean(),
  blobs: v.array(v.object({ digest, size: bytes })),
  bytes,
  presentBytes: bytes,
  broughtBytes: bytes,
  warnings,
});
