// What of an input can change an answer, as one text: the parts that are listed, each behind its length, as they were sent. It is a
// key itself, not the hash of one, so two inputs that share it are the same where it counts; other spellings of one value (a number
// as 1 and 1.0, a character and its escape, another order of keys) are other keys, which costs a hit and never an answer.
// A key is put together where it is kept and nowhere else: whether a text is the key of what was read is told from the input itself,
// and a hash says where to look. Inputs are looked through as UTF-8, as a policy gets them: bytes take half the time of characters.
import { randomInt } from 'node:crypto'
import type { JsonText } from './request.ts'
import { writeUtf8 } from './utf8.ts'

interface Node {
  /** Where its whole value goes; undefined: only what is below. */
  readonly slot: number | undefined
  /** Of what is below: the first slot, and the one behind the last. */
  readonly from: number
  readonly to: number
  readonly names: readonly string[]
  /** As they stand in a text; empty for one that cannot stand there as it is. */
  readonly written: readonly Uint8Array[]
  readonly children: readonly Node[]
}

const bang = 0x21
const quote = 0x22
const comma = 0x2c
const dot = 0x2e
const colon = 0x3a
const openBracket = 0x5b
const backslash = 0x5c
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d

/** Kept between two inputs; longer ones have memory of their own. */
const keptBytes = 16_384
/** Zeros behind the last byte, where nothing goes on: one is passed over behind a backslash, and one behind the end of a string. */
const endBytes = 3
/** Bytes of a length. */
const lengthBytes = 4
/** Of every process another one: nobody can choose what falls together. */
const seed = randomInt(2 ** 32)

/** Reads one input after the other; what is asked for is of the one that was read last. */
export class Projection {
  readonly #root: Node
  /** For each part its first index and the one behind it. Both 0: it is not there, since no value is without a byte. */
  readonly #ranges: Int32Array
  #bytes = Buffer.alloc(0)
  #isAbsent = true

  /** @param paths none within another; the empty path is everything */
  constructor(paths: readonly (readonly string[])[]) {
    let slots = 0
    const nodeOf = (below: readonly (readonly string[])[]): Node => {
      const from = slots
      if (below.some((path) => path.length === 0)) {
        slots++
        return { slot: from, from, to: slots, names: [], written: [], children: [] }
      }
      const names = [...new Set(below.map(([name]) => name as string))]
      const children = names.map((name) => nodeOf(below.filter((path) => path[0] === name).map((path) => path.slice(1))))
      return { slot: undefined, from, to: slots, names, written: names.map(writtenName), children }
    }
    this.#root = nodeOf(paths)
    this.#ranges = new Int32Array(2 * slots)
  }

  /** @param json a text that JSON.parse has accepted; of a key that is there twice, the last counts */
  read(json: JsonText | undefined): void {
    const ranges = this.#ranges
    this.#isAbsent = json === undefined
    if (ranges.length === 0) return
    if (json === undefined) ranges.fill(0)
    else {
      const end = this.#write(json)
      if (this.#root.slot !== undefined) ranges[1] = end
      else read(this.#bytes, 0, this.#root, ranges)
    }
  }

  /** @returns of what was read and what came before, the same for the same. 32 bits */
  hash(before: number): number {
    const ranges = this.#ranges
    const bytes = this.#bytes
    let hash = this.#isAbsent ? ~before : before
    for (let i = 0; i < ranges.length; i += 2) {
      let at = ranges[i] as number
      const to = ranges[i + 1] as number
      hash = mixed(hash, to - at)
      for (; at + 4 <= to; at += 4) hash = mixed(hash, wordAt(bytes, at))
      for (; at < to; at++) hash = mixed(hash, bytes[at] as number)
    }
    return hash
  }

  /**
   * @param from where in the key its part of it begins
   * @returns the index in the key behind it; -1: it is the key of another one
   */
  endIn(key: string, from: number): number {
    const ranges = this.#ranges
    const bytes = this.#bytes
    if (key.charCodeAt(from) !== (this.#isAbsent ? bang : dot)) return -1
    let at = from + 1
    for (let i = 0; i < ranges.length; i += 2) {
      const begins = ranges[i] as number
      const ends = ranges[i + 1] as number
      for (let shift = 0; shift < 8 * lengthBytes; shift += 8) if (key.charCodeAt(at++) !== (((ends - begins) >>> shift) & 0xff)) return -1
      for (let j = begins; j < ends; j++) if (key.charCodeAt(at++) !== bytes[j]) return -1
    }
    return at
  }

  /** @returns the key of what was read, each of its characters a byte */
  key(): string {
    const ranges = this.#ranges
    let key = this.#isAbsent ? '!' : '.'
    for (let i = 0; i < ranges.length; i += 2) {
      const [from, to] = [ranges[i] as number, ranges[i + 1] as number]
      const length = to - from
      key += String.fromCharCode(length & 0xff, (length >>> 8) & 0xff, (length >>> 16) & 0xff, length >>> 24)
      if (length > 0) key += this.#bytes.toString('latin1', from, to)
    }
    return key
  }

  /** @returns the index behind its last byte */
  #write(json: JsonText): number {
    const most = 3 * json.length + endBytes
    if (most > this.#bytes.length || this.#bytes.length > keptBytes) this.#bytes = Buffer.allocUnsafeSlow(Math.max(most, keptBytes))
    const end = writeUtf8(json, this.#bytes, 0)
    for (let i = 0; i < endBytes; i++) this.#bytes[end + i] = 0
    return end
  }
}

/** No key has quotes and backslashes as they are: what looks like one with them has a part of something else in it. */
function writtenName(name: string): Uint8Array {
  return /["\\]/.test(name) ? new Uint8Array() : Buffer.from(`${name}"`)
}

/** For what comes before a hash. */
export function hashOf(text: string): number {
  let hash = seed
  for (let i = 0; i < text.length; i++) hash = mixed(hash, text.charCodeAt(i))
  return hash
}

function mixed(hash: number, value: number): number {
  const product = Math.imul(hash ^ value, 0x5bd1e995)
  return product ^ (product >>> 15)
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16) | ((bytes[at + 3] as number) << 24)
}

/** @returns the index behind the value at `at` */
function read(bytes: Buffer, at: number, node: Node, ranges: Int32Array): number {
  let i = skipSpace(bytes, at)
  // What the same key had before.
  for (let slot = 2 * node.from; slot < 2 * node.to; slot++) ranges[slot] = 0
  // Of what is no object, nothing can be read by a name.
  if (bytes[i] !== openBrace) return endOfValue(bytes, i)
  i = skipSpace(bytes, i + 1)
  while (bytes[i] === quote) {
    let which = nameAt(bytes, i + 1, node.written)
    if (which >= 0) i += 1 + (node.written[which] as Uint8Array).length
    else {
      const from = i
      i = endOfText(bytes, from) + 1
      if (hasEscapes(bytes, from, i)) which = node.names.indexOf(JSON.parse(bytes.toString('utf8', from, i)) as string)
    }
    // Nearly nobody writes spaces here.
    if (bytes[i] !== colon) i = skipSpace(bytes, i)
    i++
    if ((bytes[i] as number) <= 0x20) i = skipSpace(bytes, i)
    const child = which < 0 ? undefined : (node.children[which] as Node)
    if (child !== undefined && child.slot === undefined) i = read(bytes, i, child, ranges)
    else {
      const end = endOfValue(bytes, i)
      if (child?.slot !== undefined) {
        ranges[2 * child.slot] = i
        ranges[2 * child.slot + 1] = end
      }
      i = end
    }
    if ((bytes[i] as number) <= 0x20) i = skipSpace(bytes, i)
    if (bytes[i] === comma) {
      i++
      if (bytes[i] !== quote) i = skipSpace(bytes, i)
    }
  }
  return i + 1
}

/** @returns the index of the name that stands there as it is, with its closing quote; -1: none does */
function nameAt(bytes: Uint8Array, at: number, names: readonly Uint8Array[]): number {
  for (let which = 0; which < names.length; which++) {
    const name = names[which] as Uint8Array
    const last = name.length - 1
    if (last < 0 || bytes[at + last] !== quote) continue
    let i = 0
    while (i < last && bytes[at + i] === name[i]) i++
    if (i === last) return which
  }
  return -1
}

function hasEscapes(bytes: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (bytes[i] === backslash) return true
  return false
}

/** @returns the index of the closing quote */
function endOfText(bytes: Uint8Array, open: number): number {
  for (let i = open + 1; ; i++) {
    const c = bytes[i] as number
    if (c > backslash) continue
    if (c === quote || c === 0) return i
    if (c === backslash) i++
  }
}

function skipSpace(bytes: Uint8Array, at: number): number {
  let i = at
  for (let c = bytes[i] as number; c <= 0x20 && c > 0; ) c = bytes[++i] as number
  return i
}

/** @returns the index behind a value */
function endOfValue(bytes: Uint8Array, at: number): number {
  const first = bytes[at]
  if (first === quote) return endOfText(bytes, at) + 1
  let i = at
  if (first !== openBrace && first !== openBracket) {
    for (; ; i++) {
      const c = bytes[i] as number
      if (c <= 0x20 || c === comma || c === closeBrace || c === closeBracket) return i
    }
  }
  for (let depth = 0; ; i++) {
    const c = bytes[i]
    if (c === quote) i = endOfText(bytes, i)
    else if (c === openBrace || c === openBracket) depth++
    else if (c === closeBrace || c === closeBracket) {
      depth--
      if (depth === 0) return i + 1
    } else if (c === 0) return i
  }
}
