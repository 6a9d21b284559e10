// What of an input can change an answer, as one text: the parts that are listed, each with its length, as they were sent. It is a
// key itself, not the hash of one, so two inputs that share it are the same where it counts; other spellings of one value (a number
// as 1 and 1.0, a character and its escape, another order of keys) are other keys, which costs a hit and never an answer.
import { endOfString } from './json-text.ts'
import type { JsonText } from './request.ts'

export interface Projection {
  /** Of a text that JSON.parse has accepted, without a key twice. */
  of(json: JsonText | undefined): string
}

interface Node {
  /** Where its whole value goes; undefined: only what is below. */
  readonly slot: number | undefined
  readonly names: readonly string[]
  readonly children: readonly Node[]
}

/** Stands for a part that is not there; no part with a length begins so. */
const absent = '-'
const [quote, comma, openBrace, closeBrace, openBracket, closeBracket] = [0x22, 0x2c, 0x7b, 0x7d, 0x5b, 0x5d]

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
      read(json, 0, root, found)
      let key = ''
      for (const part of found) key += part === undefined ? absent : `${part.length}:${part}`
      return key
    },
  }

  function nodeOf(below: readonly (readonly string[])[]): Node {
    if (below.some((path) => path.length === 0)) return { slot: slots++, names: [], children: [] }
    const names = [...new Set(below.map(([name]) => name as string))]
    // What is no object where one is looked into is told by itself: there, nothing can be read of it, and no more need be known.
    return {
      slot: undefined,
      names,
      children: names.map((name) => nodeOf(below.filter((path) => path[0] === name).map((path) => path.slice(1)))),
    }
  }
}

/** @returns the index behind the value at `at` */
function read(json: string, at: number, node: Node, found: (string | undefined)[]): number {
  let i = skipSpace(json, at)
  if (node.slot !== undefined) {
    const end = endOfValue(json, i)
    found[node.slot] = json.slice(i, end)
    return end
  }
  if (json.charCodeAt(i) !== openBrace) return endOfValue(json, i)
  i = skipSpace(json, i + 1)
  while (json.charCodeAt(i) === quote) {
    const close = endOfString(json, i)
    const child = childOf(json, i, close, node)
    i = skipSpace(json, skipSpace(json, close + 1) + 1)
    i = child === undefined ? endOfValue(json, i) : read(json, i, child, found)
    i = skipSpace(json, i)
    if (json.charCodeAt(i) === comma) i = skipSpace(json, i + 1)
  }
  return i + 1
}

function childOf(json: string, open: number, close: number, { names, children }: Node): Node | undefined {
  const length = close - open - 1
  for (let i = 0; i < names.length; i++) {
    const name = names[i] as string
    if (name.length === length && json.startsWith(name, open + 1)) return children[i]
  }
  // A key can hide behind escapes.
  const text = json.slice(open, close + 1)
  if (!text.includes('\\')) return undefined
  return children[names.indexOf(JSON.parse(text) as string)]
}

function skipSpace(json: string, at: number): number {
  let i = at
  while (json.charCodeAt(i) <= 0x20) i++
  return i
}

/** @returns the index behind a value */
function endOfValue(json: string, at: number): number {
  const first = json.charCodeAt(at)
  if (first === quote) return endOfString(json, at) + 1
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
    if (c === quote) i = endOfString(json, i)
    else if (c === openBrace || c === openBracket) depth++
    else if (c === closeBrace || c === closeBracket) {
      depth--
      if (depth === 0) return i + 1
    } else if (!(c >= 0)) return i
  }
}
