// What of an input can change an answer, as one text: the parts that are listed, each behind its length, as they were sent. It is a
// key itself, not the hash of one, so two inputs that share it are the same where it counts; other spellings of one value (a number
// as 1 and 1.0, a character and its escape, another order of keys) are other keys, which costs a hit and never an answer.
// A key is put together where it is kept and nowhere else: whether a text is the key of what was read is told from the input itself,
// and a hash says where to look.
import { randomInt } from 'node:crypto'
import type { JsonText } from './request.ts'

interface Node {
  /** Where its whole value goes; undefined: only what is below. */
  readonly slot: number | undefined
  /** Of what is below: the first slot, and the one behind the last. */
  readonly from: number
  readonly to: number
  readonly names: readonly string[]
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

/** Beyond so many characters it takes less to ask for a part of the text. */
const longPart = 64
/** Characters of a length, each below 256. */
const lengthChars = 4
/** Of every process another one: nobody can choose what falls together. */
const seed = randomInt(2 ** 32)

/** Reads one input after the other; what is asked for is of the one that was read last. */
export class Projection {
  readonly #root: Node
  /** For each part its first index and the one behind it. Both 0: it is not there, since no value is without a character. */
  readonly #ranges: Int32Array

  /** @param paths none within another; the empty path is everything */
  constructor(paths: readonly (readonly string[])[]) {
    let slots = 0
    const nodeOf = (below: readonly (readonly string[])[]): Node => {
      if (below.some((path) => path.length === 0)) return { slot: slots++, from: slots - 1, to: slots, names: [], children: [] }
      const names = [...new Set(below.map(([name]) => name as string))]
      const from = slots
      const children = names.map((name) => nodeOf(below.filter((path) => path[0] === name).map((path) => path.slice(1))))
      return { slot: undefined, from, to: slots, names, children }
    }
    this.#root = nodeOf(paths)
    this.#ranges = new Int32Array(2 * slots)
  }

  /** @param json a text that JSON.parse has accepted; of a key that is there twice, the last counts */
  read(json: JsonText | undefined): void {
    const ranges = this.#ranges
    if (ranges.length === 0) return
    if (json === undefined) ranges.fill(0)
    else if (this.#root.slot !== undefined) ranges[1] = json.length
    else read(json, 0, this.#root, ranges, json.includes('\\'))
  }

  /** @returns of what was read and what came before, the same for the same. 32 bits */
  hash(json: JsonText | undefined, before: number): number {
    const ranges = this.#ranges
    let hash = json === undefined ? ~before : before
    for (let i = 0; i < ranges.length; i += 2) {
      const to = ranges[i + 1] as number
      for (let at = ranges[i] as number; at < to; at++) hash = mixed(hash, (json as string).charCodeAt(at))
      hash = mixed(hash, to - (ranges[i] as number))
    }
    return hash
  }

  /**
   * @param json what was read
   * @param from where in the key its part of it begins
   * @returns the index in the key behind it; -1: it is the key of another one
   */
  endIn(key: string, from: number, json: JsonText | undefined): number {
    const ranges = this.#ranges
    if (key.charCodeAt(from) !== (json === undefined ? bang : dot)) return -1
    let at = from + 1
    for (let i = 0; i < ranges.length; i += 2) {
      const begins = ranges[i] as number
      const length = (ranges[i + 1] as number) - begins
      for (let shift = 0; shift < 8 * lengthChars; shift += 8) if (key.charCodeAt(at++) !== ((length >>> shift) & 0xff)) return -1
      if (!isPartAt(json as string, begins, length, key, at)) return -1
      at += length
    }
    return at
  }

  /** @returns the key of what was read */
  key(json: JsonText | undefined): string {
    const ranges = this.#ranges
    let key = json === undefined ? '!' : '.'
    for (let i = 0; i < ranges.length; i += 2) {
      const [from, to] = [ranges[i] as number, ranges[i + 1] as number]
      const length = to - from
      key += String.fromCharCode(length & 0xff, (length >>> 8) & 0xff, (length >>> 16) & 0xff, length >>> 24)
      if (length > 0) key += (json as string).slice(from, to)
    }
    return key
  }
}

function isPartAt(json: string, begins: number, length: number, key: string, at: number): boolean {
  if (length > longPart) return key.startsWith(json.slice(begins, begins + length), at)
  for (let i = 0; i < length; i++) if (key.charCodeAt(at + i) !== json.charCodeAt(begins + i)) return false
  return true
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

/**
 * @param hasEscapes whether there is a backslash anywhere: a key can hide behind one
 * @returns the index behind the value at `at`
 */
function read(json: string, at: number, node: Node, ranges: Int32Array, hasEscapes: boolean): number {
  let i = skipSpace(json, at)
  // What the same key had before.
  for (let slot = 2 * node.from; slot < 2 * node.to; slot++) ranges[slot] = 0
  // Of what is no object, nothing can be read by a name.
  if (json.charCodeAt(i) !== openBrace) return endOfValue(json, i)
  i = skipSpace(json, i + 1)
  while (json.charCodeAt(i) === quote) {
    let which = nameAt(json, i + 1, node.names)
    let close: number
    if (which >= 0) close = i + 1 + (node.names[which] as string).length
    else {
      close = endOfText(json, i)
      if (hasEscapes) which = node.names.indexOf(JSON.parse(json.slice(i, close + 1)) as string)
    }
    i = close + 1
    // Nearly nobody writes spaces here.
    if (json.charCodeAt(i) !== colon) i = skipSpace(json, i)
    i++
    if (json.charCodeAt(i) <= 0x20) i = skipSpace(json, i)
    const child = which < 0 ? undefined : (node.children[which] as Node)
    if (child !== undefined && child.slot === undefined) i = read(json, i, child, ranges, hasEscapes)
    else {
      const end = endOfValue(json, i)
      if (child?.slot !== undefined) {
        ranges[2 * child.slot] = i
        ranges[2 * child.slot + 1] = end
      }
      i = end
    }
    if (json.charCodeAt(i) <= 0x20) i = skipSpace(json, i)
    if (json.charCodeAt(i) === comma) {
      i++
      if (json.charCodeAt(i) !== quote) i = skipSpace(json, i)
    }
  }
  return i + 1
}

/** @returns the index of the name that stands there as it is, with its closing quote; -1: none does */
function nameAt(json: string, at: number, names: readonly string[]): number {
  for (let i = 0; i < names.length; i++) {
    const name = names[i] as string
    if (json.charCodeAt(at + name.length) === quote && isAt(json, at, name)) return i
  }
  return -1
}

/** Names are short: this takes less than asking for a part of the text. */
function isAt(json: string, at: number, name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    const c = name.charCodeAt(i)
    // No key has these as they are: what looks like one has a part of something else in it.
    if (json.charCodeAt(at + i) !== c || c === quote || c === backslash) return false
  }
  return true
}

/** @returns the index of the closing quote */
function endOfText(json: string, open: number): number {
  for (let i = open + 1; ; i++) {
    const c = json.charCodeAt(i)
    // NaN, behind the end, is neither.
    if (c === quote || !(c >= 0)) return i
    if (c === backslash) i++
  }
}

function skipSpace(json: string, at: number): number {
  let i = at
  while (json.charCodeAt(i) <= 0x20) i++
  return i
}

/** @returns the index behind a value */
function endOfValue(json: string, at: number): number {
  const first = json.charCodeAt(at)
  if (first === quote) return endOfText(json, at) + 1
  let i = at
  if (first !== openBrace && first !== openBracket) {
    for (; ; i++) {
      const c = json.charCodeAt(i)
      // NaN, behind the end, compares as neither.
      if (!(c > 0x20) || c === comma || c === closeBrace || c === closeBracket) return i
    }
  }
  for (let depth = 0; ; i++) {
    const c = json.charCodeAt(i)
    if (c === quote) i = endOfText(json, i)
    else if (c === openBrace || c === openBracket) depth++
    else if (c === closeBrace || c === closeBracket) {
      depth--
      if (depth === 0) return i + 1
    } else if (!(c >= 0)) return i
  }
}
