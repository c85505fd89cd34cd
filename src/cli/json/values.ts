import * as v from 'valibot';

/** Bytes. */
export const bytes = v.pipe(v.number(), v.integer(), v.minValue(0));
export const count = v.pipe(v.number(), v.integer(), v.minValue(0));
export const seconds = v.pipe(v.number(), v.minValue(0));
export const text = v.string();
export const digest = v.pipe(text, v.regex(/^sha(256|512):[0-9a-f]+$/));
/** ISO 8601, UTC. */
export const time = v.pipe(text, v.regex(/^(\d{4,}-\d\d-\d\dT|@-?\d)/));
export const warnings = v.array(text);
