// What of an input can change an answer, as one text: the parts that are listed, each with its length, as they were sent. It is a
// key itself, not the hash of one, so two inputs that share it are the same where it counts; other spellings of one value (a number
// as 1 and 1.0, a character and its escape, another order of keys) are other keys, which costs a hit and never an answer.
import type { JsonText } from './request.ts'

export interface Projection {
  /** Of a text that JSON.parse has accepted; of a key that is there twice, the last counts. */
  of(json: JsonText | undefined): string
}

interface Node {
  /** Where its whole value goes; undefined: only what is below. */
  readonly slot: number | undefined
  /** Of what is below: the first slot, and the one behind the last. */
  readonly from: number
  readonly to: number
  readonly names: readonly string[]
  readonly children: readonly Node[]
}

/** Stands for a part that is not there; no part with a length begins so. */
const absent = '-'
const quote = 0x22
const comma = 0x2c
const colon = 0x3a
const openBracket = 0x5b
const backslash = 0x5c
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d

/** @param paths none within another; the empty path is everything */
export function projectionOf(paths: readonly (readonly string[])[]): Projection {
  let slots = 0
  const root = nodeOf(paths)
  const none = absent.repeat(slots)
  return {
    of(json) {
      if (json === undefined) return `!${none}`
      if (root.slot !== undefined) return json
      const found: (string | undefined)[] = new Array(slots)
      read(json, 0, root, found, json.includes('\\'))
      let key = ''
      for (const part of found) key += part === undefined ? absent : `${part.length}:${part}`
      return key
    },
  }

  function nodeOf(below: readonly (readonly string[])[]): Node {
    if (below.some((path) => path.length === 0)) return { slot: slots++, from: slots - 1, to: slots, names: [], children: [] }
    const names = [...new Set(below.map(([name]) => name as string))]
    const from = slots
    const children = names.map((name) => nodeOf(below.filter((path) => path[0] === name).map((path) => path.slice(1))))
    return { slot: undefined, from, to: slots, names, children }
  }
}

/**
 * @param hasEscapes whether there is a backslash anywhere: a key can hide behind one
 * @returns the index behind the value at `at`
 */
function read(json: string, at: number, node: Node, found: (string | undefined)[], hasEscapes: boolean): number {
  let i = skipSpace(json, at)
  if (node.slot !== undefined) {
    const end = endOfValue(json, i)
    found[node.slot] = json.slice(i, end)
    return end
  }
  // What the same key had before.
  for (let slot = node.from; slot < node.to; slot++) found[slot] = undefined
  // Of what is no object, nothing can be read by a name.
  if (json.charCodeAt(i) !== openBrace) return endOfValue(json, i)
  i = skipSpace(json, i + 1)
  while (json.charCodeAt(i) === quote) {
    const close = endOfText(json, i)
    const child = childOf(json, i, close, node, hasEscapes)
    i = close + 1
    // Nearly nobody writes spaces here.
    if (json.charCodeAt(i) !== colon) i = skipSpace(json, i)
    i = skipSpace(json, i + 1)
    i = child === undefined ? endOfValue(json, i) : read(json, i, child, found, hasEscapes)
    if (json.charCodeAt(i) <= 0x20) i = skipSpace(json, i)
    if (json.charCodeAt(i) === comma) i = skipSpace(json, i + 1)
  }
  return i + 1
}

function childOf(json: string, open: number, close: number, { names, children }: Node, hasEscapes: boolean): Node | undefined {
  const length = close - open - 1
  for (let i = 0; i < names.length; i++) {
    const name = names[i] as string
    if (name.length === length && isAt(json, open + 1, name)) return children[i]
  }
  if (!hasEscapes) return undefined
  return children[names.indexOf(JSON.parse(json.slice(open, close + 1)) as string)]
}

/** Names are short: this takes less than asking for a part of the text. */
function isAt(json: string, at: number, name: string): boolean {
  for (let i = 0; i < name.length; i++) if (json.charCodeAt(at + i) !== name.charCodeAt(i)) return false
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
