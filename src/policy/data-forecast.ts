// How much memory a policy.wasm will take for data, told from the JSON text before it is loaded: memory that is sized
// first loads many times faster than memory that grows, and what does not fit is refused before anything is done.
// Follows OPA's allocator (wasm/src/malloc.c: blocks of 4, 8, 16, 64, then 128 bytes or more, each with a header of 12)
// and the sizes of its values (value.h). An upper bound; test/policy/data-forecast.test.ts compares with what is taken.
import { endOfString } from '../decision/strict-json.ts'

const header = 12
const shortString = block(12)
const number = block(24)
const literal = block(2)
const collection = block(16)
const member = block(12)
/** Each element of an array has its index as a number beside it. */
const element = number
const minBuckets = 8
const loadFactor = 0.7
const firstCapacity = 10

const quote = 0x22

/** Bytes that opa_malloc takes for a request. */
function block(bytes: number): number {
  const size = bytes <= 4 ? 4 : bytes <= 8 ? 8 : bytes <= 16 ? 16 : bytes <= 64 ? 64 : Math.max(bytes, 128)
  return size + header
}

/** @param json text that JSON.parse accepts; what is no JSON gets some number */
export function forecastDataBytes(json: string): number {
  // The text itself is in memory while it is read; what is freed is not counted upon.
  const length = Buffer.byteLength(json)
  const ascii = length === json.length
  let bytes = length + header
  const counts: number[] = []
  const isObject: boolean[] = []
  let depth = -1
  const end = json.length
  for (let i = 0; i < end; i++) {
    const c = json.charCodeAt(i)
    if (c === quote) {
      const close = endOfString(json, i)
      bytes += shortString + block((close - i - 1) * (ascii || isPlain(json, i + 1, close) ? 1 : 3))
      i = close
    } else if (c === 0x7b || c === 0x5b) {
      bytes += collection
      depth++
      counts[depth] = 0
      isObject[depth] = c === 0x7b
      // Whether it is empty shows with the next character that is no space.
      let next = i + 1
      while (next < end && json.charCodeAt(next) <= 0x20) next++
      const following = json.charCodeAt(next)
      if (following !== 0x7d && following !== 0x5d) counts[depth] = 1
    } else if (c === 0x2c && depth >= 0) {
      counts[depth] = (counts[depth] as number) + 1
    } else if ((c === 0x7d || c === 0x5d) && depth >= 0) {
      bytes += isObject[depth] ? objectBytes(counts[depth] as number) : arrayBytes(counts[depth] as number)
      depth--
    } else if (c === 0x2d || (c >= 0x30 && c <= 0x39)) {
      const start = i
      while (i + 1 < end && isNumberPart(json.charCodeAt(i + 1))) i++
      bytes += number + block(i - start + 1)
    } else if (c === 0x74 || c === 0x66 || c === 0x6e) {
      bytes += literal
      i += c === 0x66 ? 4 : 3
    }
  }
  return bytes
}

function objectBytes(members: number): number {
  let bytes = members * member
  let buckets = minBuckets
  bytes += block(buckets * 4)
  while (members > buckets * loadFactor) {
    buckets *= 2
    bytes += block(buckets * 4)
  }
  return bytes
}

function arrayBytes(elements: number): number {
  let bytes = elements * element
  for (let capacity = firstCapacity; elements > 0; capacity *= 2) {
    bytes += block(capacity * 8)
    if (capacity >= elements) break
  }
  return bytes
}

function isNumberPart(c: number): boolean {
  return (c >= 0x30 && c <= 0x39) || c === 0x2e || c === 0x2b || c === 0x2d || c === 0x65 || c === 0x45
}

function isPlain(json: string, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (json.charCodeAt(i) > 0x7f) return false
  return true
}
