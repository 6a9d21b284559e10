// JSON text taken apart without parsing it, so that every digit stays: for texts that JSON.parse has accepted already.
import { PdpError } from '../errors.ts'
import type { JsonText } from './request.ts'

const quote = 0x22
const backslash = 0x5c

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
    const from = afterSpace(json, close + 1) + 1
    i = endOfElement(json, from)
    members.set(key, json.slice(from, i).trim())
    i++
  }
  return members
}

/** @returns the parts of a JSON pointer; the empty pointer has none @see RFC 6901 */
export function parsePointer(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
}

/** A member that is a text; undefined where there is none. */
export function textMemberOf(json: JsonText | undefined, key: string): string | undefined {
  const text = json === undefined ? undefined : membersOf(json).get(key)
  return text?.startsWith('"') === true ? (JSON.parse(text) as string) : undefined
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

export function afterSpace(text: string, from: number): number {
  let i = from
  while (isSpace(text.charCodeAt(i))) i++
  return i
}

function isSpace(c: number): boolean {
  return c <= 0x20 && (c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09)
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

/** A value as JSON text on one line. */
export function toJsonLine(value: unknown): string {
  return toSingleLine(JSON.stringify(value))
}

/** Printable ASCII without quotes and backslashes needs no escapes. */
const plain = /^[ !#-[\]-~]*$/

/** As toJsonLine, for a text. */
export function quoted(text: string): JsonText {
  return plain.test(text) ? `"${text}"` : toJsonLine(text)
}

const notOneLine = /[\n\r\t\u007f-\u009f\u2028\u2029]/

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

export function readString(text: string, open: number, close: number): string {
  const raw = text.slice(open + 1, close)
  if (!raw.includes('\\')) return raw
  const decoded = decodeEscapes(text.slice(open, close + 1))
  if (!decoded.isWellFormed()) throw loneSurrogate()
  return decoded
}

export function decodeEscapes(literal: string): string {
  try {
    return JSON.parse(literal) as string
  } catch (cause) {
    throw invalidJson(cause)
  }
}

export function loneSurrogate(): PdpError {
  return new PdpError('ERR_INVALID_UTF8', 'a string holds half of a surrogate pair')
}

/** Whether a character can stand in a JSON number behind the first. */
export function isNumberPart(c: number): boolean {
  return (c >= 0x30 && c <= 0x39) || c === 0x2e || c === 0x2b || c === 0x2d || c === 0x65 || c === 0x45
}

export function invalidJson(cause?: unknown): PdpError {
  return new PdpError('ERR_INVALID_JSON', 'the body is not valid JSON', { cause })
}
