// Messages of protocol buffers as the JSON text that Google's own libraries make of them (camelCase names, defaults left out,
// 64-bit integers and bytes as texts), driven by tables of fields. For inputs of policies that were written for that form.
// @see https://protobuf.dev/programming-guides/json/
import { quoted } from '../../decision/json-text.ts'
import type { JsonText } from '../../decision/request.ts'
import { PdpError } from '../../errors.ts'
import {
  countMember,
  embedded,
  malformed,
  readBool,
  readBytes,
  readInteger,
  readStructField,
  readText,
  Seen,
  skipField,
  type WireBounds,
  type WireReader,
} from './wire.ts'

export type Kind = 'string' | 'bytes' | 'bool' | 'int32' | 'int64' | 'timestamp' | 'struct' | MessageKind | MapKind | ListKind
interface MapKind {
  readonly values: 'string' | 'struct'
}
interface ListKind {
  readonly items: MessageKind
}
/** Fields by number. */
export interface MessageKind {
  readonly fields: Readonly<Record<number, readonly [name: string, kind: Kind]>>
  /** Names under which texts, bytes and maps are kept, by field. */
  readonly keep?: Readonly<Record<number, string>>
}

/** What of a message is wanted beside its text. */
export type Kept = Map<string, string | Buffer | ReadonlyMap<string, string>>

/**
 * @param kept takes what the table says
 * @returns the object's JSON text; fields that the table lacks are passed over
 */
export function messageText(reader: WireReader, end: number, kind: MessageKind, bounds: WireBounds, kept: Kept): JsonText {
  let text = ''
  let lists: Map<string, string[]> | undefined
  let maps: Map<number, Map<string, string>> | undefined
  const single = new Seen()
  while (reader.pos < end) {
    const tag = reader.uint32()
    const number = tag >>> 3
    const field = kind.fields[number]
    if (field === undefined) {
      skipField(reader, tag, end)
      continue
    }
    const [name, type] = field
    countMember(bounds)
    if (typeof type === 'object' && 'values' in type) {
      maps ??= new Map()
      const entries = maps.get(number) ?? new Map<string, string>()
      maps.set(number, entries)
      readEntry(reader, embedded(reader, tag, end), type.values, entries, bounds)
    } else if (typeof type === 'object' && 'items' in type) {
      lists ??= new Map()
      const items = lists.get(name) ?? []
      lists.set(name, items)
      items.push(messageText(reader, embedded(reader, tag, end), type.items, bounds, kept))
    } else {
      single.add(number)
      const value = valueText(reader, tag, end, type, kind, bounds, kept)
      if (value !== undefined) text += `${text === '' ? '' : ','}"${name}":${value}`
    }
  }
  if (lists !== undefined) for (const [name, items] of lists) text += `${text === '' ? '' : ','}"${name}":[${items.join(',')}]`
  if (maps !== undefined) {
    for (const [number, entries] of maps) {
      const [name, type] = kind.fields[number] as readonly [string, MapKind]
      let inner = ''
      for (const [key, value] of entries) {
        inner += `${inner === '' ? '' : ','}${quoted(key)}:${type.values === 'string' ? quoted(value) : value}`
      }
      text += `${text === '' ? '' : ','}"${name}":{${inner}}`
      keep(kind, number, entries, kept)
    }
  }
  return `{${text}}`
}

/** @returns undefined for a value that is its type's default */
function valueText(
  reader: WireReader,
  tag: number,
  end: number,
  kind: Kind,
  outer: MessageKind,
  bounds: WireBounds,
  kept: Kept,
): JsonText | undefined {
  switch (kind) {
    case 'string': {
      const text = readText(reader, tag, end)
      keep(outer, tag >>> 3, text, kept)
      return text === '' ? undefined : quoted(text)
    }
    case 'bytes': {
      const bytes = readBytes(reader, tag, end)
      keep(outer, tag >>> 3, bytes, kept)
      return bytes.length === 0 ? undefined : `"${bytes.toString('base64')}"`
    }
    case 'bool':
      return readBool(reader, tag) ? 'true' : undefined
    case 'int32':
    case 'int64': {
      const value = readInteger(reader, tag)
      return value === 0 ? undefined : kind === 'int64' ? `"${value}"` : String(value)
    }
    case 'timestamp':
      return timestamp(reader, embedded(reader, tag, end))
    case 'struct':
      return readStructField(reader, tag, end, bounds)
  }
  if ('fields' in kind) return messageText(reader, embedded(reader, tag, end), kind, bounds, kept)
  throw new TypeError('a list or a map is no single value')
}

function keep({ keep }: MessageKind, field: number, value: string | Buffer | ReadonlyMap<string, string>, kept: Kept): void {
  const name = keep?.[field]
  if (name !== undefined) kept.set(name, value)
}

function readEntry(reader: WireReader, end: number, values: 'string' | 'struct', into: Map<string, string>, bounds: WireBounds): void {
  let key = ''
  let value: string | undefined
  while (reader.pos < end) {
    const tag = reader.uint32()
    if (tag >>> 3 === 1) key = readText(reader, tag, end)
    else if (tag >>> 3 === 2) value = values === 'string' ? readText(reader, tag, end) : readStructField(reader, tag, end, bounds)
    else skipField(reader, tag, end)
  }
  if (into.has(key)) throw new PdpError('ERR_DUPLICATE_KEY', `the key \`${key.slice(0, 64)}\` appears twice in one map`)
  into.set(key, value ?? (values === 'string' ? '' : '{}'))
}

let lastSeconds = Number.NaN
let lastText: JsonText = ''

function timestamp(reader: WireReader, end: number): JsonText {
  let seconds = 0
  let nanos = 0
  while (reader.pos < end) {
    const tag = reader.uint32()
    if (tag >>> 3 === 1) seconds = readInteger(reader, tag)
    else if (tag >>> 3 === 2) nanos = readInteger(reader, tag)
    else skipField(reader, tag, end)
  }
  if (seconds === lastSeconds && nanos === 0) return lastText
  const date = new Date(seconds * 1_000)
  if (Number.isNaN(date.getTime()) || date.getUTCFullYear() > 9_999 || date.getUTCFullYear() < 1 || nanos < 0 || nanos > 999_999_999) {
    throw malformed('a time is out of range')
  }
  // None, three, six or nine digits.
  const fraction = String(nanos)
    .padStart(9, '0')
    .replace(/(?:000){1,3}$/, '')
  const text = `"${date.toISOString().slice(0, 19)}${fraction === '' ? '' : `.${fraction}`}Z"`
  if (nanos === 0) [lastSeconds, lastText] = [seconds, text]
  return text
}
