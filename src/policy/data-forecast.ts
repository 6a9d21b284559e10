// How much memory a policy.wasm will take for data, told from the JSON text before it is read: memory that is sized
// first is filled many times faster than memory that grows, and what does not fit is refused before anything is done.
// Upper bounds; test/policy/data-forecast.test.ts compares with what is taken.
import { endOfString, isNumberPart } from '../decision/json-text.ts'
import { bucketsFor } from './data-writer.ts'
import { sizeOf } from './runtime-layout.ts'

/** Bytes that values take. */
interface Costs {
  string(bytes: number): number
  number(characters: number): number
  array(elements: number): number
  object(members: number): number
  readonly literal: number
  /** For each index of the longest array. */
  readonly index: number
}

/** As data-writer.ts writes them; each may end up to 3 bytes before the next multiple of 4. */
const written: Costs = {
  string: (bytes) => sizeOf.string + bytes + 3,
  number: (characters) => sizeOf.numberText + characters + 3,
  array: (elements) => sizeOf.array + elements * sizeOf.element,
  object: (members) => sizeOf.object + bucketsFor(members) * 4 + members * sizeOf.member,
  literal: 4,
  index: sizeOf.integer,
}

const header = 12
const minBuckets = 8
const loadFactor = 0.7
const firstCapacity = 10

/** As the runtime reads them, in the blocks of OPA's allocator (wasm/src/malloc.c) with a header each. */
const read: Costs = {
  string: (bytes) => block(sizeOf.string) + block(bytes),
  number: (characters) => block(24) + block(characters),
  // Each element has its index as a number beside it.
  array(elements) {
    let bytes = block(sizeOf.array) + elements * block(24)
    for (let capacity = firstCapacity; elements > 0; capacity *= 2) {
      bytes += block(capacity * sizeOf.element)
      if (capacity >= elements) break
    }
    return bytes
  },
  object(members) {
    let buckets = minBuckets
    let bytes = block(sizeOf.object) + members * block(sizeOf.member) + block(buckets * 4)
    while (members > buckets * loadFactor) {
      buckets *= 2
      bytes += block(buckets * 4)
    }
    return bytes
  },
  literal: block(2),
  index: 0,
}

/** Bytes that opa_malloc takes for a request. */
function block(bytes: number): number {
  const size = bytes <= 4 ? 4 : bytes <= 8 ? 8 : bytes <= 16 ? 16 : bytes <= 64 ? 64 : Math.max(bytes, 128)
  return size + header
}

/**
 * For data that data-writer.ts writes.
 * @param json text that JSON.parse accepts; what is no JSON gets some number
 */
export function forecastDataBytes(json: string): number {
  return forecast(json, written)
}

/** For a text that the runtime reads; the text itself is in memory meanwhile. */
export function forecastReadBytes(json: string): number {
  return Buffer.byteLength(json) + header + forecast(json, read)
}

const quote = 0x22

function forecast(json: string, costs: Costs): number {
  const ascii = Buffer.byteLength(json) === json.length
  let bytes = 0
  let longest = 0
  const counts: number[] = []
  const isObject: boolean[] = []
  let depth = -1
  const end = json.length
  for (let i = 0; i < end; i++) {
    const c = json.charCodeAt(i)
    if (c === quote) {
      const close = endOfString(json, i)
      bytes += costs.string((close - i - 1) * (ascii || isPlain(json, i + 1, close) ? 1 : 3))
      i = close
    } else if (c === 0x7b || c === 0x5b) {
      depth++
      isObject[depth] = c === 0x7b
      // Whether it is empty shows with the next character that is no space.
      let next = i + 1
      while (next < end && json.charCodeAt(next) <= 0x20) next++
      const following = json.charCodeAt(next)
      counts[depth] = following !== 0x7d && following !== 0x5d ? 1 : 0
    } else if (c === 0x2c && depth >= 0) {
      counts[depth] = (counts[depth] as number) + 1
    } else if ((c === 0x7d || c === 0x5d) && depth >= 0) {
      const count = counts[depth] as number
      bytes += isObject[depth] ? costs.object(count) : costs.array(count)
      if (!isObject[depth] && count > longest) longest = count
      depth--
    } else if (c === 0x2d || (c >= 0x30 && c <= 0x39)) {
      const start = i
      while (i + 1 < end && isNumberPart(json.charCodeAt(i + 1))) i++
      bytes += costs.number(i - start + 1)
    } else if (c === 0x74 || c === 0x66 || c === 0x6e) {
      bytes += costs.literal
      i += c === 0x66 ? 4 : 3
    }
  }
  return bytes + longest * costs.index
}

function isPlain(json: string, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (json.charCodeAt(i) > 0x7f) return false
  return true
}
