// What the host and a policy.wasm that was made exact (exact-runtime.ts) agree on: the layout of OPA's values, the IDs of
// calls, the names of exports. Constants only. The layout is that of OPA's wasm/src/value.h.

/** Name of the exported global: not zero, where built-in errors end an evaluation. */
export const strictExport = 'verdict_strict'
/** Name of the exported global that holds how many pages memory was grown by ahead of need. */
export const sparePagesExport = 'verdict_spare_pages'
/** Name of the exported global below whose address nothing is freed: the end of the data. */
export const dataEndExport = 'verdict_data_end'
/** Name under which the comparison of values is exported. */
export const compareExport = 'verdict_compare'

/**
 * IDs of host calls that are not in the module's own list of built-ins.
 * `nativeBase + i` is the i-th of nativeFunctions.
 */
export const hostCall = {
  nativeBase: 1_000_000,
  nextKey: 2_000_000,
  nextMember: 2_000_001,
  numberHash: 2_000_002,
  keyText: 2_000_003,
} as const

/** Layout of values, and their types. */
export const layout = {
  null: 1,
  boolean: 2,
  number: 3,
  string: 4,
  array: 5,
  object: 6,
  set: 7,
  internedString: 8,
  representation: 1,
  integer: 1,
  text: 2,
  numberText: 8,
  numberLength: 12,
  elements: 4,
  elementBytes: 8,
  elementValue: 4,
  stringLength: 4,
  stringText: 8,
  buckets: 4,
  bucketCount: 8,
  /** Where an element of a bucket's list has the next one. */
  objectNext: 8,
  setNext: 4,
  /** Number of members of an array, object or set. */
  lengthOf: { 5: 8, 6: 12, 7: 12 },
} as const

/** Bytes of values as they are written by the host; those of a text come behind. */
export const sizeOf = {
  string: 12,
  integer: 16,
  numberText: 20,
  array: 16,
  element: 8,
  object: 16,
  member: 12,
} as const
