// Strict reading of hostile JSON: what RFC 8259 leaves to the reader is refused here, with a code each.
// Beside the grammar that is what JSON.parse swallows without a word: duplicate keys, lone surrogates, rounded numbers,
// any depth. The source text of members is handed out, so that values travel to the policy and into the record exactly as
// they were sent.
import { PdpError } from '../errors.ts'
import { afterSpace, decodeEscapes, invalidJson, isNumberPart, loneSurrogate, membersOf, readString, toSingleLine } from './json-text.ts'
import { KeySet } from './key-set.ts'

/** Bounds of one document. */
export interface JsonLimits {
  /** Nesting of arrays and objects; the outermost is 1. */
  readonly maxDepth: number
  /** Members of all objects and elements of all arrays together. */
  readonly maxMembers: number
  /** Refuse keys that name a property of Object.prototype. */
  readonly forbidPrototypeKeys: boolean
}

/** A document and the source text of the members of its outermost object. Texts are on one line (toSingleLine). */
export interface JsonDocument {
  readonly text: string
  /** As JSON.parse gives it: numbers may be rounded, so use `members` for what must stay exact. */
  readonly value: unknown
  /** Source text by key; empty when the outermost value is not an object. */
  readonly members: ReadonlyMap<string, string>
}

/** For what the user of this machine passes in: nesting that recursion survives, nothing else. */
export const localLimits: JsonLimits = { maxDepth: 1_000, maxMembers: Number.POSITIVE_INFINITY, forbidPrototypeKeys: false }

/** Numbers that OPA itself could carry, but no honest caller sends. */
const maxNumberDigits = 1_000
const maxNumberExponent = 1_000

const prototypeKeys: ReadonlySet<string> = new Set([...Object.getOwnPropertyNames(Object.prototype), 'prototype'])

/** Whether a key names a property of Object.prototype. */
export function isForbiddenKey(key: string): boolean {
  return prototypeKeys.has(key)
}

const quote = 0x22
const backslash = 0x5c

/**
 * Reads one document.
 * @throws PdpError ERR_INVALID_JSON, ERR_INVALID_UTF8 (lone surrogate), ERR_DUPLICATE_KEY, ERR_FORBIDDEN_KEY,
 * ERR_UNSAFE_NUMBER, ERR_TOO_DEEP, ERR_TOO_MANY_MEMBERS
 * @see RFC 8259 §4 (names should be unique), §6 (numbers), §8.2 (surrogates); RFC 7493 (I-JSON)
 */
export function parseStrictJson(text: string, limits: JsonLimits): JsonDocument {
  let members = checkStrictJson(text, limits)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw invalidJson(cause)
  }
  const line = toSingleLine(text)
  if (line !== text) members = membersOf(line)
  return { text: line, value, members }
}

/** What is known of an object that the check is inside of; arrays share one. */
interface Frame {
  readonly isObject: boolean
  /** The first few; then all of them in a set, and in another one where there are more than a request may have. */
  readonly keys: string[]
  seen: Set<string> | undefined
  large: KeySet | undefined
}

const manyKeys = 8
/** A set of strings withstands keys that were chosen to collide, but takes long to fill. */
const tooManyForSet = 50_000

const inArray: Frame = { isObject: false, keys: [], seen: undefined, large: undefined }

/**
 * Checks a whole text and builds nothing of it, for documents that nobody needs as values.
 * @returns source text of the members of the outermost object; empty when the outermost value is none
 * @throws PdpError as parseStrictJson
 */
export function checkStrictJson(text: string, limits: JsonLimits): Map<string, string> {
  const members = new Map<string, string>()
  const stack: Frame[] = []
  let frame: Frame | undefined
  let count = 0
  let member: string | undefined
  let memberStart = 0
  /** @returns where the value behind the key begins */
  const readKey = (at: number): number => {
    if (text.charCodeAt(at) !== quote) throw invalidJson()
    const end = checkString(text, at)
    const large = frame?.large
    const key = large === undefined || stack.length === 1 || limits.forbidPrototypeKeys ? readString(text, at, end - 1) : undefined
    if (limits.forbidPrototypeKeys && prototypeKeys.has(key as string)) {
      throw new PdpError('ERR_FORBIDDEN_KEY', `the key \`${key}\` is not allowed`)
    }
    const isTwice = large === undefined ? addKey(frame as Frame, key as string, text) : addToLarge(large, text, at, end - 1)
    if (isTwice)
      throw new PdpError('ERR_DUPLICATE_KEY', `the key \`${shorten(readString(text, at, end - 1))}\` appears twice in one object`)
    const colon = afterSpace(text, end)
    if (text.charCodeAt(colon) !== 0x3a) throw invalidJson()
    if (++count > limits.maxMembers) throw tooMany(limits)
    if (stack.length === 1) {
      member = key
      memberStart = colon + 1
    }
    return afterSpace(text, colon + 1)
  }
  let i = afterSpace(text, 0)
  for (;;) {
    const c = text.charCodeAt(i)
    if (c === 0x7b || c === 0x5b) {
      const isObject = c === 0x7b
      frame = isObject ? { isObject, keys: [], seen: undefined, large: undefined } : inArray
      if (stack.push(frame) > limits.maxDepth) throw new PdpError('ERR_TOO_DEEP', `nesting exceeds maxDepth \`${limits.maxDepth}\``)
      i = afterSpace(text, i + 1)
      if (text.charCodeAt(i) !== (isObject ? 0x7d : 0x5d)) {
        if (isObject) i = readKey(i)
        else if (++count > limits.maxMembers) throw tooMany(limits)
        continue
      }
    } else i = c === quote ? checkString(text, i) : c === 0x2d || (c >= 0x30 && c <= 0x39) ? checkNumber(text, i) : checkLiteral(text, i)
    // A value has ended, or a collection is about to.
    for (;;) {
      i = afterSpace(text, i)
      if (frame === undefined) {
        if (i < text.length) throw invalidJson()
        return members
      }
      const next = text.charCodeAt(i)
      const isComma = next === 0x2c
      if (!isComma && next !== (frame.isObject ? 0x7d : 0x5d)) throw invalidJson()
      if (stack.length === 1 && member !== undefined) members.set(member, text.slice(memberStart, i).trim())
      i = afterSpace(text, i + 1)
      if (isComma) {
        if (frame.isObject) i = readKey(i)
        else if (++count > limits.maxMembers) throw tooMany(limits)
        break
      }
      stack.pop()
      frame = stack[stack.length - 1]
    }
  }
}

/** @returns the index behind the closing quote */
function checkString(text: string, open: number): number {
  let i = open + 1
  let hasUnicodeEscape = false
  for (;;) {
    const c = text.charCodeAt(i)
    if (c === quote) break
    if (c === backslash) {
      const escaped = text.charCodeAt(i + 1)
      if (escaped === 0x75) {
        hasUnicodeEscape = true
        i += 6
      } else if (simpleEscapes.has(escaped)) i += 2
      else throw invalidJson()
    } else if (c >= 0x20) i++
    else throw invalidJson()
  }
  // Valid UTF-8 has no surrogates, so a lone one can only be written as an escape.
  if (hasUnicodeEscape && !decodeEscapes(text.slice(open, i + 1)).isWellFormed()) throw loneSurrogate()
  return i + 1
}

const simpleEscapes: ReadonlySet<number> = new Set([...'"\\/bfnrt'].map((char) => char.charCodeAt(0)))

/** @returns the index behind the number */
function checkNumber(text: string, start: number): number {
  let i = start + 1
  let digits = 1
  let exponentAt = -1
  let isInteger = true
  for (let c = text.charCodeAt(i); isNumberPart(c); c = text.charCodeAt(++i)) {
    if (c >= 0x30 && c <= 0x39) digits++
    else {
      isInteger = false
      if (c === 0x65 || c === 0x45) exponentAt = i + 1
    }
  }
  if (digits > maxNumberDigits || (exponentAt >= 0 && Math.abs(Number(text.slice(exponentAt, i))) > maxNumberExponent)) {
    throw new PdpError('ERR_UNSAFE_NUMBER', `a number has more than ${maxNumberDigits} digits or an exponent beyond ${maxNumberExponent}`)
  }
  const first = text.charCodeAt(start)
  if (isInteger && (first >= 0x31 || (first === 0x30 && i === start + 1))) return i
  if (!jsonNumber.test(text.slice(start, i))) throw invalidJson()
  return i
}

const jsonNumber = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/

function checkLiteral(text: string, at: number): number {
  for (const literal of ['true', 'false', 'null']) if (text.startsWith(literal, at)) return at + literal.length
  throw invalidJson()
}

function tooMany(limits: JsonLimits): PdpError {
  return new PdpError('ERR_TOO_MANY_MEMBERS', `members and elements exceed maxMembers \`${limits.maxMembers}\``)
}

/** @returns whether the key was there already */
function addKey(frame: Frame, key: string, text: string): boolean {
  if (frame.seen === undefined ? frame.keys.includes(key) : frame.seen.has(key)) return true
  if (frame.seen === undefined) {
    frame.keys.push(key)
    if (frame.keys.length > manyKeys) frame.seen = new Set(frame.keys)
  } else if (frame.seen.add(key).size > tooManyForSet) {
    frame.large = new KeySet(text)
    for (const seen of frame.seen) frame.large.addWritten(seen)
  }
  return false
}

function addToLarge(large: KeySet, text: string, open: number, close: number): boolean {
  for (let i = open + 1; i < close; i++) {
    if (text.charCodeAt(i) === backslash) return large.addWritten(readString(text, open, close))
  }
  return large.addPlain(open + 1, close)
}

/** For messages: at most 64 characters of what somebody sent. */
export function shorten(value: string): string {
  return value.length <= 64 ? value : `${value.slice(0, 63)}…`
}
