// The heap of a policy.wasm: room for an input, and a way back after a trap.
//
// OPA's allocator keeps the end of memory in a variable of its own, which it does not export. If memory is grown
// from outside, or the variable is put back with a snapshot, it thinks less of memory than there is, and grows
// it by a page for every allocation beyond. So room is made through the allocator itself, and a restored snapshot
// gets the present end written into it.
// @see OPA, wasm/src/malloc.c (heap_ptr, heap_top)
import { PdpError } from '../errors.ts'
import { takeSnapshot } from '../wasm/snapshot.ts'
import { sparePagesExport } from './runtime-layout.ts'

interface AllocatorExports {
  opa_malloc(bytes: number): number
  opa_heap_ptr_set(address: number): void
}

const pageBytes = 65_536

export class PolicyHeap {
  #start: number
  readonly #memory: WebAssembly.Memory
  readonly #exports: AllocatorExports
  readonly #topAddress: number
  readonly #takeSnapshot: () => () => void
  #restore: () => void
  readonly #sparePages: WebAssembly.Global
  #top: number

  /**
   * @param start end of the data
   * @param staticBytes end of what lies below the data: C stack, variables, caches; what a trap can leave half-way
   */
  constructor(instance: WebAssembly.Instance, memory: WebAssembly.Memory, start: number, staticBytes: number) {
    this.#memory = memory
    this.#exports = instance.exports as unknown as AllocatorExports
    this.#start = start
    this.#sparePages = instance.exports[sparePagesExport] as WebAssembly.Global
    const before = new Uint32Array(memory.buffer.slice(0, staticBytes & ~3))
    const sizeBefore = this.#known
    this.#allocate(sizeBefore - start + 1)
    this.#top = this.#known
    this.#topAddress = findGrown(before, new Uint32Array(memory.buffer, 0, before.length), this.#top - sizeBefore)
    this.#exports.opa_heap_ptr_set(start)
    this.#takeSnapshot = () => {
      const snapshot = takeSnapshot(instance, memory, staticBytes)
      return () => snapshot.restore()
    }
    this.#restore = this.#takeSnapshot()
  }

  /** Where an evaluation's input goes: the end of the data. */
  get start(): number {
    return this.#start
  }

  /** After data has changed: where it ends now, and what a trap goes back to. */
  moveStart(start: number): void {
    this.#start = start
    this.#top = this.#known
    this.#restore = this.#takeSnapshot()
  }

  /**
   * Makes sure that `bytes` fit behind the data.
   * @throws whatever opa_abort throws when memory ends
   */
  reserve(bytes: number): void {
    const room = this.#known - this.#start
    if (bytes + pageBytes > room) this.#allocate(bytes + pageBytes)
  }

  /** Puts everything but the data and the size of memory back to where it was before the first evaluation. */
  restore(): void {
    this.#restore()
    // The snapshot brought its count of spare pages along; what memory there is beyond them, the allocator knows of.
    const grown = this.#known - this.#top
    const top = new Uint32Array(this.#memory.buffer, this.#topAddress, 1)
    top[0] = (top[0] as number) + grown
  }

  /** End of the memory that OPA's allocator knows of. */
  get #known(): number {
    return this.#memory.buffer.byteLength - (this.#sparePages.value as number) * pageBytes
  }

  #allocate(bytes: number): void {
    this.#exports.opa_heap_ptr_set(this.#start)
    this.#exports.opa_malloc(bytes)
  }
}

/** Address of the one variable that went up by exactly what memory grew by. */
function findGrown(before: Uint32Array, after: Uint32Array, by: number): number {
  const found: number[] = []
  for (let i = 0; i < before.length; i++) {
    if ((after[i] as number) - (before[i] as number) === by) found.push(i * 4)
  }
  if (by === 0 || found.length !== 1) {
    throw new PdpError('ERR_POLICY_INVALID', 'the allocator of policy.wasm is not the one of OPA')
  }
  return found[0] as number
}
