// Iteration over objects and sets in OPA's order, for the places of a policy.wasm where the order shows: results, and
// loops in which an array grows. The runtime's own order is that of its hashes.
import { layout } from './exact-runtime.ts'
import type { PolicyMemory } from './policy-memory.ts'

type Compare = (a: number, b: number) => number

interface Iterator {
  readonly collection: number
  readonly keys: Uint32Array
  at: number
}

export class OrderedKeys {
  readonly #memory: PolicyMemory
  #compare: Compare = () => 0
  /** Iterations under way, innermost last; those left by a jump out of their loop go with the next one outside. */
  readonly #stack: Iterator[] = []

  constructor(memory: PolicyMemory) {
    this.#memory = memory
  }

  /** @param compare OPA's order of values, which the instance exports */
  attach(compare: Compare): void {
    this.#compare = compare
  }

  /** Forgets what an earlier evaluation left. */
  reset(): void {
    this.#stack.length = 0
  }

  /**
   * @param previous zero: the first key
   * @returns zero after the last key
   */
  next(collection: number, previous: number): number {
    if (previous === 0) {
      const keys = this.#sorted(collection)
      this.#stack.push({ collection, keys, at: 0 })
      return keys[0] ?? 0
    }
    for (;;) {
      const iterator = this.#stack.at(-1)
      if (iterator === undefined) return 0
      if (iterator.collection === collection && iterator.keys[iterator.at] === previous) {
        iterator.at++
        if (iterator.at < iterator.keys.length) return iterator.keys[iterator.at] as number
        this.#stack.pop()
        return 0
      }
      this.#stack.pop()
    }
  }

  #sorted(collection: number): Uint32Array {
    const memory = this.#memory
    const nextAt = memory.typeOf(collection) === layout.set ? 4 : 8
    const buckets = memory.word(collection + layout.buckets)
    const end = buckets + 4 * memory.word(collection + layout.bucketCount)
    const keys = new Uint32Array(memory.word(collection + layout.lengthOf[layout.set]))
    let found = 0
    for (let bucket = buckets; bucket < end; bucket += 4) {
      for (let element = memory.word(bucket); element !== 0; element = memory.word(element + nextAt)) keys[found++] = memory.word(element)
    }
    return keys.sort(this.#compare)
  }
}
