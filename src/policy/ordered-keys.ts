// Iteration over objects and sets in OPA's order, for the places of a policy.wasm where the order shows: results, and
// loops in which an array grows. The runtime's own order is that of its hashes.
//
// Rego orders keys by their values. JSON has only strings as keys: OPA writes objects in the order of the text that
// keys get there, which is another one where keys are not strings, and keys with one text become one.

import type { PolicyMemory } from './policy-memory.ts'
import { layout } from './runtime-layout.ts'

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

  /** What the runtime's writer writes at present: JSON for a result, or Rego's own text for the host. */
  writing: 'json' | 'rego' = 'json'

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
    this.writing = 'json'
  }

  /**
   * @param previous zero: the first key
   * @param written for the writer, which may write JSON
   * @returns zero after the last key
   */
  next(collection: number, previous: number, written = false): number {
    if (previous === 0) {
      const keys = this.#sorted(collection, written && this.writing === 'json')
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

  #sorted(collection: number, asJson: boolean): Uint32Array {
    const memory = this.#memory
    const isSet = memory.typeOf(collection) === layout.set
    const nextAt = isSet ? layout.setNext : layout.objectNext
    const buckets = memory.word(collection + layout.buckets)
    const end = buckets + 4 * memory.word(collection + layout.bucketCount)
    const keys = new Uint32Array(memory.word(collection + layout.lengthOf[layout.set]))
    let found = 0
    for (let bucket = buckets; bucket < end; bucket += 4) {
      for (let element = memory.word(bucket); element !== 0; element = memory.word(element + nextAt)) keys[found++] = memory.word(element)
    }
    if (asJson && !isSet && keys.some((key) => !isString(memory.typeOf(key)))) return this.#sortedAsJson(keys)
    return keys.sort(this.#compare)
  }

  /** Of several keys with one text, the last in Rego's order stays. */
  #sortedAsJson(keys: Uint32Array): Uint32Array {
    const byText = new Map<string, number>()
    for (const key of keys.sort(this.#compare)) byText.set(this.#memory.jsonKey(key), key)
    const texts = [...byText].map(([text, key]) => ({ text: Buffer.from(text), key }))
    return Uint32Array.from(texts.sort((a, b) => Buffer.compare(a.text, b.text)).map(({ key }) => key))
  }
}

function isString(type: number): boolean {
  return type === layout.string || type === layout.internedString
}
