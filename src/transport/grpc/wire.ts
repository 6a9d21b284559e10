// Messages of protocol buffers read strictly: every field at most once, of its own wire type, text that is UTF-8, nesting and
// members within the bounds of JSON bodies. Values of google.protobuf.Struct become JSON text without objects between.
//
// Not a decoder of whole messages: each message has one function that reads it (decision-messages.ts, check-request.ts), over
// the library's reader of single values.
// @see https://protobuf.dev/programming-guides/encoding/
import { isUtf8 } from 'node:buffer'
import protobuf from 'protobufjs/minimal.js'
import { quoted } from '../../decision/json-text.ts'
import type { JsonText } from '../../decision/request.ts'
import { isForbiddenKey, type JsonLimits, parseStrictJson } from '../../decision/strict-json.ts'
import { PdpError } from '../../errors.ts'

export type WireReader = InstanceType<typeof protobuf.Reader>

const varint = 0
const fixed64 = 1
const lengthDelimited = 2

/** What one message may hold, counted over all of it. */
export interface WireBounds {
  readonly limits: JsonLimits
  members: number
}

export function malformed(what: string, cause?: unknown): PdpError {
  return new PdpError('ERR_INVALID_REQUEST', `the message is malformed: ${what}`, { cause })
}

/** The message that is being read, a character for each byte: most texts are ASCII, and a slice takes less than decoding each. */
let latin1 = ''
const ascii = /^[\x00-\x7f]*$/

/**
 * Reads one message.
 * @throws PdpError also for what the library's reader throws
 */
export function readMessage<T>(bytes: Uint8Array, read: (reader: WireReader, end: number) => T): T {
  try {
    const reader = protobuf.Reader.create(bytes)
    latin1 = (reader.buf as Buffer).toString('latin1', 0, reader.len)
    return read(reader, reader.len)
  } catch (thrown) {
    throw thrown instanceof PdpError ? thrown : malformed('it ends early or is not of protocol buffers', thrown)
  }
}

/** Refuses a field that is there twice: one reader takes the last, another merges. */
export class Seen {
  #fields = 0

  /** @param field 1 to 31; fields of a oneof share one. */
  add(field: number): void {
    const bit = 1 << field
    if ((this.#fields & bit) !== 0) throw new PdpError('ERR_DUPLICATE_KEY', `the field \`${field}\` appears twice in one message`)
    this.#fields |= bit
  }
}

/** @returns end of the embedded message that begins here */
export function embedded(reader: WireReader, tag: number, outerEnd: number): number {
  expectType(tag, lengthDelimited)
  const length = reader.uint32()
  const end = reader.pos + length
  if (end > outerEnd) throw malformed('a part is longer than the whole')
  return end
}

/** @throws PdpError ERR_INVALID_UTF8 */
export function readText(reader: WireReader, tag: number, outerEnd: number): string {
  const end = embedded(reader, tag, outerEnd)
  const bytes = reader.buf as Buffer
  const start = reader.pos
  reader.pos = end
  const slice = latin1.slice(start, end)
  if (ascii.test(slice)) return slice
  const text = bytes.toString('utf8', start, end)
  // Whatever is not UTF-8 becomes this character, which text may hold, too.
  if (text.includes('\ufffd') && !isUtf8(bytes.subarray(start, end))) throw new PdpError('ERR_INVALID_UTF8', 'a text is not valid UTF-8')
  return text
}

export function readBytes(reader: WireReader, tag: number, outerEnd: number): Buffer {
  const end = embedded(reader, tag, outerEnd)
  const bytes = (reader.buf as Buffer).subarray(reader.pos, end)
  reader.pos = end
  return bytes
}

export function readBool(reader: WireReader, tag: number): boolean {
  expectType(tag, varint)
  return reader.bool()
}

/** @returns a number up to 2^53 */
export function readInteger(reader: WireReader, tag: number): number {
  expectType(tag, varint)
  const read = reader.int64()
  const value = typeof read === 'number' ? read : (read as unknown as { toNumber(): number }).toNumber()
  if (!Number.isSafeInteger(value)) throw malformed('a number is too large')
  return value
}

/** Leaves out a field of a protocol that grows. */
export function skipField(reader: WireReader, tag: number, end: number): void {
  const type = tag & 7
  // Groups nest, and nothing uses them: they are not followed.
  if (type === 3 || type === 4) throw malformed('groups are not taken')
  reader.skipType(type)
  if (reader.pos > end) throw malformed('a part is longer than the whole')
}

export function unknownField(tag: number): PdpError {
  return malformed(`there is no field \`${tag >>> 3}\``)
}

function expectType(tag: number, type: number): void {
  if ((tag & 7) !== type) throw malformed(`the field \`${tag >>> 3}\` has another type`)
}

/**
 * A field that is JSON text of an object.
 * @throws PdpError as parseStrictJson; ERR_INVALID_REQUEST
 */
export function readJsonObject(reader: WireReader, tag: number, end: number, { limits }: WireBounds): JsonText {
  const { text, value } = parseStrictJson(readText(reader, tag, end), limits)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed('JSON text must be an object')
  return text.trim()
}

/** A field that is a google.protobuf.Struct. @throws PdpError as parseStrictJson, in as far as it applies */
export function readStructField(reader: WireReader, tag: number, end: number, bounds: WireBounds): JsonText {
  return struct(reader, embedded(reader, tag, end), bounds, 1)
}

function struct(reader: WireReader, end: number, bounds: WireBounds, depth: number): JsonText {
  if (depth > bounds.limits.maxDepth) throw new PdpError('ERR_TOO_DEEP', `nesting exceeds maxDepth \`${bounds.limits.maxDepth}\``)
  const keys = new Set<string>()
  let text = ''
  while (reader.pos < end) {
    const tag = reader.uint32()
    if (tag >>> 3 !== 1) throw unknownField(tag)
    const entryEnd = embedded(reader, tag, end)
    const seen = new Seen()
    let key = ''
    let value: JsonText = 'null'
    while (reader.pos < entryEnd) {
      const inner = reader.uint32()
      seen.add(inner >>> 3)
      if (inner >>> 3 === 1) key = readText(reader, inner, entryEnd)
      else if (inner >>> 3 === 2) value = structValue(reader, embedded(reader, inner, entryEnd), bounds, depth)
      else throw unknownField(inner)
    }
    if (bounds.limits.forbidPrototypeKeys && isForbiddenKey(key))
      throw new PdpError('ERR_FORBIDDEN_KEY', `the key \`${key}\` is not allowed`)
    if (keys.size === keys.add(key).size) throw new PdpError('ERR_DUPLICATE_KEY', 'a key appears twice in one object')
    countMember(bounds)
    text += `${text === '' ? '' : ','}${quoted(key)}:${value}`
  }
  return `{${text}}`
}

function list(reader: WireReader, end: number, bounds: WireBounds, depth: number): JsonText {
  if (depth > bounds.limits.maxDepth) throw new PdpError('ERR_TOO_DEEP', `nesting exceeds maxDepth \`${bounds.limits.maxDepth}\``)
  const elements: JsonText[] = []
  while (reader.pos < end) {
    const tag = reader.uint32()
    if (tag >>> 3 !== 1) throw unknownField(tag)
    elements.push(structValue(reader, embedded(reader, tag, end), bounds, depth))
    countMember(bounds)
  }
  return `[${elements.join(',')}]`
}

function structValue(reader: WireReader, end: number, bounds: WireBounds, depth: number): JsonText {
  let text: JsonText | undefined
  while (reader.pos < end) {
    if (text !== undefined) throw new PdpError('ERR_DUPLICATE_KEY', 'a value is there twice')
    const tag = reader.uint32()
    switch (tag >>> 3) {
      case 1:
        if (readInteger(reader, tag) !== 0) throw malformed('a null is not zero')
        text = 'null'
        break
      case 2:
        expectType(tag, fixed64)
        text = numberText(reader.double())
        break
      case 3:
        text = quoted(readText(reader, tag, end))
        break
      case 4:
        text = readBool(reader, tag) ? 'true' : 'false'
        break
      case 5:
        text = struct(reader, embedded(reader, tag, end), bounds, depth + 1)
        break
      case 6:
        text = list(reader, embedded(reader, tag, end), bounds, depth + 1)
        break
      default:
        throw unknownField(tag)
    }
  }
  if (text === undefined) throw malformed('a value is empty')
  return text
}

function numberText(value: number): JsonText {
  if (!Number.isFinite(value)) throw new PdpError('ERR_UNSAFE_NUMBER', 'a number is not finite')
  return Object.is(value, -0) ? '-0' : JSON.stringify(value)
}

export function countMember(bounds: WireBounds): void {
  if (++bounds.members > bounds.limits.maxMembers) {
    throw new PdpError('ERR_TOO_MANY_MEMBERS', `members and elements exceed maxMembers \`${bounds.limits.maxMembers}\``)
  }
}
