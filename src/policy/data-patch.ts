// Changes one path of a running policy's data in place, without loading the rest again: the allocator's blocks that data
// gave back are kept for the next change (OPA's heap stash), so memory does not grow with the number of changes.
// @see OPA, wasm/src/value.c (opa_value_add_path, opa_value_remove_path), malloc.c (opa_heap_blocks_stash, _restore)
import { PdpError } from '../errors.ts'
import { forecastReadBytes } from './data-forecast.ts'
import type { PolicyHeap } from './policy-heap.ts'
import { align, type PolicyMemory } from './policy-memory.ts'

export interface PatchExports {
  opa_json_parse(text: number, bytes: number): number
  opa_value_add_path(data: number, path: number, value: number): number
  opa_value_remove_path(data: number, path: number): number
  opa_malloc(bytes: number): number
  opa_free(address: number): void
  opa_heap_ptr_get(): number
  opa_heap_ptr_set(address: number): void
  opa_heap_blocks_restore(): void
  opa_heap_blocks_stash(): void
}

/** Room for what a change takes beside its value: copies of keys, objects on the way. */
const slackBytes = 16_384
/** More than the allocator has fixed sizes for. */
const largeBlock = 256

/**
 * @param data address of the data's root object
 * @param path keys from the root, at least one; objects on the way are made where they are missing
 * @param json the value's text, that JSON.parse accepts; undefined: what is there goes
 * @throws PdpError ERR_BUNDLE_DATA when the path leads through what is no object: nothing is changed then, but for objects
 * that were made on the way; ERR_MEMORY_EXHAUSTED before anything is changed
 */
export function patchData(
  exports: PatchExports,
  memory: PolicyMemory,
  heap: PolicyHeap,
  data: number,
  path: readonly string[],
  json: string | undefined,
): void {
  if (path.length === 0) throw new PdpError('ERR_BUNDLE_DATA', 'the whole data is not changed in place: load it anew')
  const pathText = Buffer.from(JSON.stringify(path))
  const valueText = json === undefined ? undefined : Buffer.from(json)
  const valueBytes = json === undefined ? 0 : forecastReadBytes(json)
  // The path, and the texts, lie behind what the change itself may take, where the next evaluation writes over them.
  const behind = align(heap.start + valueBytes + pathText.length * 2 + slackBytes)
  const texts = pathText.length + (valueText?.length ?? 0)
  heap.reserve(behind - heap.start + texts + forecastReadBytes(pathText.toString()) + slackBytes)
  const bytes = memory.bytes()
  bytes.set(pathText, behind)
  if (valueText !== undefined) bytes.set(valueText, behind + pathText.length)
  exports.opa_heap_ptr_set(align(behind + texts))
  const pathAddress = exports.opa_json_parse(behind, pathText.length)

  exports.opa_heap_ptr_set(heap.start)
  exports.opa_heap_blocks_restore()
  let failed: number
  if (valueText === undefined) failed = exports.opa_value_remove_path(data, pathAddress)
  else failed = exports.opa_value_add_path(data, pathAddress, exports.opa_json_parse(behind + pathText.length, valueText.length))
  // Large blocks that were given back wait on a list of their own until the allocator next looks for a large one.
  exports.opa_free(exports.opa_malloc(largeBlock))
  const end = exports.opa_heap_ptr_get()
  exports.opa_heap_blocks_stash()
  heap.moveStart(end)
  if (failed !== 0) throw new PdpError('ERR_BUNDLE_DATA', `the path \`/${path.join('/')}\` leads through something that is no object`)
}
