// A bundle's data written straight into a policy's memory as values of OPA's runtime. The runtime's own reader makes the
// same values, but takes a block with a header for each string, number and list, counts every step, and grows objects
// member by member: a million entries take it 3 times as long and 5 times the memory.
//
// What is written here is never changed or freed: equal strings and small numbers share one value, and the runtime's calls
// of opa_free leave it alone (runtime-repairs.ts). Follows OPA's wasm/src/value.h; test/policy/data-writer.test.ts compares.
import { afterSpace, endOfString, isNumberPart } from '../decision/json-text.ts'
import { writeUtf8 } from '../decision/utf8.ts'
import { PdpError } from '../errors.ts'
import { align } from './policy-memory.ts'
import { layout, sizeOf } from './runtime-layout.ts'

export interface WrittenData {
  /** Address of the outermost value. */
  readonly root: number
  /** Where the data ends; a multiple of 8. */
  readonly end: number
}

const quote = 0x22
const comma = 0x2c
const colon = 0x3a
/** Integers up to here have one value each. */
const sharedIntegers = 4_096
/** Integers of more digits stay text: they are exact in no other form. */
const maxIntegerDigits = 15
/** Strings that were written last, by their hash: a power of two. */
const rememberedStrings = 65_536
const hashStart = 0x811c9dc5
const hashPrime = 0x01000193

/**
 * @param start where to write; a multiple of 8
 * @param json text that JSON.parse accepts
 * @throws PdpError ERR_BUNDLE_DATA when a key appears twice in one object, or the text is no JSON
 */
export function writeData(memory: WebAssembly.Memory, start: number, json: string): WrittenData {
  return new DataWriter(memory, start, json).write()
}

class DataWriter {
  readonly #json: string
  readonly #bytes: Buffer
  readonly #words: Uint32Array
  readonly #strings = new Uint32Array(rememberedStrings)
  /** Addresses of shared integers, and how many from zero on there are without a gap. */
  readonly #integers: number[] = []
  #indices = 0
  readonly #literals = new Map<string, number>()
  /** Keys and values of the collections that are open, and the hashes of the keys. */
  readonly #values: number[] = []
  readonly #hashes: number[] = []
  /** For each open collection: whether it is an object, and where its values and hashes begin. */
  readonly #open: { readonly isObject: boolean; readonly values: number; readonly hashes: number }[] = []
  /** Next character to read, next address to write. */
  #at = 0
  #free: number
  #hash = 0

  constructor(memory: WebAssembly.Memory, start: number, json: string) {
    this.#json = json
    this.#bytes = Buffer.from(memory.buffer)
    this.#words = new Uint32Array(memory.buffer)
    this.#free = start
  }

  write(): WrittenData {
    for (;;) {
      let value = this.#value()
      while (value !== undefined) {
        const inner = this.#open.at(-1)
        const next = this.#skipSpace()
        if (inner === undefined) {
          if (this.#at < this.#json.length) throw noJson()
          if (this.#free > this.#bytes.length) throw new PdpError('ERR_MEMORY_EXHAUSTED', 'the data takes more memory than was forecast')
          return { root: value, end: align(this.#free) }
        }
        this.#values.push(value)
        this.#at++
        if (next === comma) {
          if (inner.isObject) this.#key()
          break
        }
        if (next !== (inner.isObject ? 0x7d : 0x5d)) throw noJson()
        value = this.#close()
      }
    }
  }

  /** Reads one value, or the beginning of a collection that has something in it: then there is no value yet. */
  #value(): number | undefined {
    const c = this.#skipSpace()
    if (c === quote) return this.#string()
    if (c === 0x7b || c === 0x5b) {
      const isObject = c === 0x7b
      this.#open.push({ isObject, values: this.#values.length, hashes: this.#hashes.length })
      this.#at++
      if (this.#skipSpace() === (isObject ? 0x7d : 0x5d)) {
        this.#at++
        return this.#close()
      }
      if (isObject) this.#key()
      return undefined
    }
    if (c === 0x74) return this.#literal('true', layout.boolean | 0x100)
    if (c === 0x66) return this.#literal('false', layout.boolean)
    if (c === 0x6e) return this.#literal('null', layout.null)
    return this.#number()
  }

  #key(): void {
    if (this.#skipSpace() !== quote) throw noJson()
    this.#values.push(this.#string())
    this.#hashes.push(this.#hash)
    if (this.#skipSpace() !== colon) throw noJson()
    this.#at++
  }

  /** @returns the character code after white space */
  #skipSpace(): number {
    this.#at = afterSpace(this.#json, this.#at)
    return this.#json.charCodeAt(this.#at)
  }

  #take(bytes: number): number {
    const address = this.#free
    this.#free = ((address + bytes + 3) & ~3) >>> 0
    return address
  }

  #literal(text: string, word: number): number {
    if (!this.#json.startsWith(text, this.#at)) throw noJson()
    this.#at += text.length
    let address = this.#literals.get(text)
    if (address === undefined) {
      address = this.#take(4)
      this.#words[address >>> 2] = word
      this.#literals.set(text, address)
    }
    return address
  }

  /** Reads a string and leaves its hash in `#hash`. */
  #string(): number {
    const json = this.#json
    const bytes = this.#bytes
    const address = this.#free
    const text = address + sizeOf.string
    let to = text
    let at = this.#at + 1
    let hash = hashStart
    for (;;) {
      const c = json.charCodeAt(at)
      if (c === quote) break
      if (!(c >= 0x20 && c < 0x7f && c !== 0x5c)) return this.#oddString()
      bytes[to++] = c
      hash = Math.imul(hash, hashPrime) ^ c
      at++
    }
    this.#at = at + 1
    return this.#finishString(address, to - text, hash)
  }

  /** A string with escapes or beyond ASCII. */
  #oddString(): number {
    const address = this.#free
    const text = address + sizeOf.string
    const close = endOfString(this.#json, this.#at)
    let decoded: string
    try {
      decoded = JSON.parse(this.#json.slice(this.#at, close + 1)) as string
    } catch (cause) {
      throw noJson(cause)
    }
    const length = writeUtf8(decoded, this.#bytes, text)
    let hash = hashStart
    for (let i = text; i < text + length; i++) hash = Math.imul(hash, hashPrime) ^ (this.#bytes[i] as number)
    this.#at = close + 1
    return this.#finishString(address, length, hash)
  }

  /** @returns the address of a value with these bytes: this one, or one that was written before */
  #finishString(address: number, length: number, hash: number): number {
    this.#hash = hash >>> 0
    const slot = hash & (rememberedStrings - 1)
    const before = this.#strings[slot] as number
    if (before !== 0 && this.#isText(before, address + sizeOf.string, length)) return before
    const word = this.#take(sizeOf.string + length) >>> 2
    this.#words[word] = layout.string
    this.#words[word + 1] = length
    this.#words[word + 2] = address + sizeOf.string
    this.#strings[slot] = address
    return address
  }

  #isText(string: number, text: number, length: number): boolean {
    if (this.#words[(string >>> 2) + 1] !== length) return false
    const bytes = this.#bytes
    let other = string + sizeOf.string
    for (let i = text; i < text + length; i++, other++) if (bytes[i] !== bytes[other]) return false
    return true
  }

  #number(): number {
    const json = this.#json
    const start = this.#at
    let at = start
    let value = 0
    if (json.charCodeAt(at) === 0x2d) at++
    const digits = at
    for (let c = json.charCodeAt(at); c >= 0x30 && c <= 0x39; c = json.charCodeAt(++at)) value = value * 10 + (c - 0x30)
    if (at === digits) throw noJson()
    const isNegative = digits > start
    const isPlain = at - digits <= maxIntegerDigits && !(isNegative && value === 0) && !isNumberPart(json.charCodeAt(at))
    if (isPlain) {
      this.#at = at
      return this.#integer(isNegative ? -value : value)
    }
    while (isNumberPart(json.charCodeAt(at))) at++
    this.#at = at
    const address = this.#take(sizeOf.numberText + at - start)
    const word = address >>> 2
    this.#words[word] = layout.number | (layout.text << 8)
    this.#words[word + 2] = address + sizeOf.numberText
    this.#words[word + 3] = at - start
    this.#words[word + 4] = 0
    for (let i = start; i < at; i++) this.#bytes[address + sizeOf.numberText + i - start] = json.charCodeAt(i)
    return address
  }

  #integer(value: number): number {
    return value >= 0 && value < sharedIntegers ? this.#shared(value) : this.#newInteger(value)
  }

  /** The one value of an index or a small integer. */
  #shared(value: number): number {
    let address = this.#integers[value]
    if (address === undefined) {
      address = this.#newInteger(value)
      this.#integers[value] = address
    }
    return address
  }

  #newInteger(value: number): number {
    const address = this.#take(sizeOf.integer)
    const word = address >>> 2
    this.#words[word] = layout.number | (layout.integer << 8)
    this.#words[word + 2] = value >>> 0
    this.#words[word + 3] = Math.floor(value / 2 ** 32) >>> 0
    return address
  }

  #close(): number {
    const { isObject, values, hashes } = this.#open.pop() as { isObject: boolean; values: number; hashes: number }
    const address = isObject ? this.#object(values, hashes) : this.#array(values)
    this.#values.length = values
    this.#hashes.length = hashes
    return address
  }

  #array(first: number): number {
    const length = this.#values.length - first
    for (; this.#indices < length; this.#indices++) this.#shared(this.#indices)
    const address = this.#take(sizeOf.array + length * sizeOf.element)
    const words = this.#words
    let word = address >>> 2
    words[word++] = layout.array
    words[word++] = address + sizeOf.array
    words[word++] = length
    words[word++] = length
    for (let i = 0; i < length; i++) {
      words[word++] = this.#integers[i] as number
      words[word++] = this.#values[first + i] as number
    }
    return address
  }

  #object(first: number, firstHash: number): number {
    const length = (this.#values.length - first) >>> 1
    const count = bucketsFor(length)
    const address = this.#take(sizeOf.object + count * 4 + length * sizeOf.member)
    const words = this.#words
    const word = address >>> 2
    const buckets = word + sizeOf.object / 4
    words[word] = layout.object
    words[word + 1] = buckets * 4
    words[word + 2] = count
    words[word + 3] = length
    words.fill(0, buckets, buckets + count)
    let member = buckets + count
    for (let i = 0; i < length; i++, member += sizeOf.member / 4) {
      const key = this.#values[first + 2 * i] as number
      const bucket = buckets + ((this.#hashes[firstHash + i] as number) % count)
      const head = words[bucket] as number
      this.#refuseTwice(key, head)
      words[member] = key
      words[member + 1] = this.#values[first + 2 * i + 1] as number
      words[member + 2] = head
      words[bucket] = member * 4
    }
    return address
  }

  #refuseTwice(key: number, head: number): void {
    const length = this.#words[(key >>> 2) + 1] as number
    for (let member = head; member !== 0; member = this.#words[(member + layout.objectNext) >>> 2] as number) {
      if (this.#isText(this.#words[member >>> 2] as number, key + sizeOf.string, length)) {
        throw new PdpError('ERR_BUNDLE_DATA', 'the data has a key twice in one object')
      }
    }
  }
}

/** As many as keep the runtime from growing the object with its next member. */
export function bucketsFor(members: number): number {
  return Math.ceil((members + 1) / 0.7)
}

function noJson(cause?: unknown): PdpError {
  return new PdpError('ERR_BUNDLE_DATA', 'the data is not valid JSON', { cause })
}
