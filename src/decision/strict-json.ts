// Strict reading of hostile JSON: what RFC 8259 leaves to the reader is refused here, with a code each.
// Not a parser of its own grammar: V8's JSON.parse judges the syntax. This file adds the bounds, finds what
// JSON.parse swallows without a word (duplicate keys, lone surrogates, rounded numbers), and hands out the source
// text of members, so that values travel to the policy and into the record exactly as they were sent.
import { PdpError } from '../errors.ts'

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

const quote = 0x22
const backslash = 0x5c

/**
 * Reads one document.
 * @throws PdpError ERR_INVALID_JSON, ERR_INVALID_UTF8 (lone surrogate), ERR_DUPLICATE_KEY, ERR_FORBIDDEN_KEY,
 * ERR_UNSAFE_NUMBER, ERR_TOO_DEEP, ERR_TOO_MANY_MEMBERS
 * @see RFC 8259 §4 (names should be unique), §6 (numbers), §8.2 (surrogates); RFC 7493 (I-JSON)
 */
export function parseStrictJson(text: string, limits: JsonLimits): JsonDocument {
  let members = scan(text, limits)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new PdpError('ERR_INVALID_JSON', 'the body is not valid JSON', { cause })
  }
  const line = toSingleLine(text)
  if (line !== text) members = membersOf(line)
  return { text: line, value, members }
}

/** What is known of one object or array that the scan is inside of. */
interface Frame {
  readonly isObject: boolean
  readonly keys: string[]
  seen: Set<string> | undefined
}

/**
 * INVARIANT: the outcome of a scan is used only when JSON.parse accepts the same text, so the scan need not
 * judge the grammar; it only must end, and be right for valid texts.
 */
function scan(text: string, limits: JsonLimits): Map<string, string> {
  const members = new Map<string, string>()
  const stack: Frame[] = []
  let frame: Frame | undefined
  let count = 0
  let memberKey: string | undefined
  let memberStart = -1
  const end = text.length
  const endMember = (at: number) => {
    if (memberKey !== undefined) members.set(memberKey, text.slice(memberStart, at).trim())
    memberKey = undefined
  }
  for (let i = 0; i < end; i++) {
    switch (text.charCodeAt(i)) {
      case quote: {
        const close = endOfString(text, i)
        const colon = frame?.isObject === true ? colonAfter(text, close + 1) : -1
        if (colon < 0) {
          checkSurrogates(text, i, close)
          i = close
          break
        }
        const key = addKey(frame as Frame, readString(text, i, close), limits)
        if (stack.length === 1) {
          memberKey = key
          memberStart = colon + 1
        }
        if (++count > limits.maxMembers) throw tooMany(limits)
        i = colon
        break
      }
      case 0x7b: // {
      case 0x5b: // [
        frame = { isObject: text.charCodeAt(i) === 0x7b, keys: [], seen: undefined }
        if (stack.push(frame) > limits.maxDepth) {
          throw new PdpError('ERR_TOO_DEEP', `nesting exceeds maxDepth \`${limits.maxDepth}\``)
        }
        break
      case 0x7d: // }
      case 0x5d: // ]
        stack.pop()
        if (stack.length === 0) endMember(i)
        frame = stack[stack.length - 1]
        break
      case 0x2c: // ,
        if (stack.length === 1) endMember(i)
        if (frame?.isObject === false && ++count > limits.maxMembers) throw tooMany(limits)
        break
      case 0x2d: // -
      case 0x30:
      case 0x31:
      case 0x32:
      case 0x33:
      case 0x34:
      case 0x35:
      case 0x36:
      case 0x37:
      case 0x38:
      case 0x39:
        i = endOfNumber(text, i) - 1
    }
  }
  return members
}

function tooMany(limits: JsonLimits): PdpError {
  return new PdpError('ERR_TOO_MANY_MEMBERS', `members and elements exceed maxMembers \`${limits.maxMembers}\``)
}

/** Index of the closing quote, or of the last character where there is none. */
export function endOfString(text: string, open: number): number {
  let close = text.indexOf('"', open + 1)
  while (close >= 0) {
    let slashes = 0
    for (let i = close - 1; text.charCodeAt(i) === backslash && i > open; i--) slashes++
    if (slashes % 2 === 0) return close
    close = text.indexOf('"', close + 1)
  }
  return text.length - 1
}

function colonAfter(text: string, from: number): number {
  for (let i = from; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 0x3a) return i
    if (!isSpace(c)) return -1
  }
  return -1
}

function readString(text: string, open: number, close: number): string {
  const raw = text.slice(open + 1, close)
  if (!raw.includes('\\')) return raw
  const decoded = decodeEscapes(text.slice(open, close + 1))
  if (!decoded.isWellFormed()) throw loneSurrogate()
  return decoded
}

function decodeEscapes(literal: string): string {
  try {
    return JSON.parse(literal) as string
  } catch (cause) {
    throw new PdpError('ERR_INVALID_JSON', 'the body is not valid JSON', { cause })
  }
}

/** Valid UTF-8 has no surrogates, so a lone one can only be written as an escape. */
function checkSurrogates(text: string, open: number, close: number): void {
  const escapeAt = text.indexOf('\\', open)
  if (escapeAt < 0 || escapeAt > close) return
  if (!decodeEscapes(text.slice(open, close + 1)).isWellFormed()) throw loneSurrogate()
}

function loneSurrogate(): PdpError {
  return new PdpError('ERR_INVALID_UTF8', 'a string holds half of a surrogate pair')
}

function addKey(frame: Frame, key: string, limits: JsonLimits): string {
  if (limits.forbidPrototypeKeys && prototypeKeys.has(key)) {
    throw new PdpError('ERR_FORBIDDEN_KEY', `the key \`${key}\` is not allowed`)
  }
  const duplicate = frame.seen === undefined ? frame.keys.includes(key) : frame.seen.has(key)
  if (duplicate) throw new PdpError('ERR_DUPLICATE_KEY', `the key \`${shorten(key)}\` appears twice in one object`)
  frame.keys.push(key)
  if (frame.seen !== undefined) frame.seen.add(key)
  else if (frame.keys.length > 8) frame.seen = new Set(frame.keys)
  return key
}

function endOfNumber(text: string, start: number): number {
  let i = start + 1
  let digits = 1
  let exponentAt = -1
  for (; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c >= 0x30 && c <= 0x39) digits++
    else if (c === 0x65 || c === 0x45) exponentAt = i + 1
    else if (c !== 0x2e && c !== 0x2b && c !== 0x2d) break
  }
  if (digits > maxNumberDigits || (exponentAt >= 0 && Math.abs(Number(text.slice(exponentAt, i))) > maxNumberExponent)) {
    throw new PdpError('ERR_UNSAFE_NUMBER', `a number has more than ${maxNumberDigits} digits or an exponent beyond ${maxNumberExponent}`)
  }
  return i
}

/** For messages: at most 64 characters of what somebody sent. */
export function shorten(value: string): string {
  return value.length <= 64 ? value : `${value.slice(0, 63)}…`
}

/**
 * Source text of an object's members, for a text that JSON.parse has accepted already.
 * An empty map when the text is not an object.
 */
export function membersOf(json: string): Map<string, string> {
  const members = new Map<string, string>()
  const start = afterSpace(json, 0)
  if (json.charCodeAt(start) !== 0x7b) return members
  for (let i = afterSpace(json, start + 1); json.charCodeAt(i) === quote; i = afterSpace(json, i)) {
    const close = endOfString(json, i)
    const key = readString(json, i, close)
    const from = colonAfter(json, close + 1) + 1
    i = endOfElement(json, from)
    members.set(key, json.slice(from, i).trim())
    i++
  }
  return members
}

/** Source text of an array's elements, for a text that JSON.parse has accepted already. */
export function elementsOf(json: string): string[] {
  const elements: string[] = []
  const start = afterSpace(json, 0)
  if (json.charCodeAt(start) !== 0x5b || json.charCodeAt(afterSpace(json, start + 1)) === 0x5d) return elements
  for (let i = start; i < json.length && json.charCodeAt(i) !== 0x5d; ) {
    const from = i + 1
    i = endOfElement(json, from)
    elements.push(json.slice(from, i).trim())
  }
  return elements
}

/** Index of the comma or the closing bracket behind a member's or element's value. */
function endOfElement(json: string, from: number): number {
  let depth = 0
  for (let i = from; i < json.length; i++) {
    const c = json.charCodeAt(i)
    if (c === quote) i = endOfString(json, i)
    else if (c === 0x7b || c === 0x5b) depth++
    else if (c === 0x7d || c === 0x5d) {
      if (depth-- === 0) return i
    } else if (c === 0x2c && depth === 0) return i
  }
  return json.length
}

function afterSpace(text: string, from: number): number {
  let i = from
  while (isSpace(text.charCodeAt(i))) i++
  return i
}

function isSpace(c: number): boolean {
  return c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09
}

/**
 * JSON text for one line of a log: line breaks between tokens become spaces, and characters that terminals or
 * log readers treat as more than text (DEL, C1 controls, U+2028, U+2029) become escapes.
 * INVARIANT: in valid JSON, raw control characters below U+0020 stand only between tokens, and the escaped ones
 * only within strings, so neither replacement changes the value.
 */
export function toSingleLine(json: string): string {
  if (!notOneLine.test(json)) return json
  return json
    .replace(/[\n\r\t]+/g, ' ')
    .replace(/[\u007f-\u009f\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

const notOneLine = /[\n\r\t\u007f-\u009f\u2028\u2029]/
