// JSON Patch over JSON text, so that every digit of what is not touched stays.
// @see RFC 6902; RFC 6901
import { elementsOf, membersOf, parsePointer } from '../decision/json-text.ts'
import type { JsonText } from '../decision/request.ts'
import { PdpError } from '../errors.ts'

export interface PatchOperation {
  /** Those of the RFC; `upsert` adds, and makes the objects that are missing on the way. */
  readonly op: 'add' | 'remove' | 'replace' | 'move' | 'copy' | 'test' | 'upsert'
  readonly path: string
  /** Of move and copy. */
  readonly from?: string | undefined
  /** JSON text, of add, replace, test and upsert. */
  readonly value?: JsonText | undefined
}

/**
 * @param document JSON text of an object
 * @returns JSON text of an object
 * @throws PdpError ERR_BUNDLE_DATA where a path does not exist, a test fails, or the document would be no object
 */
export function applyPatch(document: JsonText, operations: readonly PatchOperation[]): JsonText {
  let root = opened(document.trim())
  for (const [i, operation] of operations.entries()) {
    try {
      root = opened(apply(root, operation))
    } catch (cause) {
      if (!(cause instanceof PdpError)) throw cause
      throw new PdpError('ERR_BUNDLE_DATA', `operation ${i} (${operation.op} \`${operation.path.slice(0, 128)}\`): ${cause.message}`, {
        cause,
      })
    }
  }
  if (!(root instanceof Map)) throw refused('the data must be an object')
  return print(root)
}

/** Text, or what it was taken apart into because a path led there: so each part is read once, however many operations there are. */
type Value = JsonText | Map<string, Value> | Value[]

/** What has parts, taken apart. */
function opened(value: Value): Value {
  if (typeof value !== 'string') return value
  return value.startsWith('{') ? new Map<string, Value>(membersOf(value)) : value.startsWith('[') ? [...elementsOf(value)] : value
}

function print(value: Value): JsonText {
  if (value instanceof Map) return `{${Array.from(value, ([name, inner]) => `${JSON.stringify(name)}:${print(inner)}`).join(',')}}`
  return Array.isArray(value) ? `[${value.map(print).join(',')}]` : value
}

function apply(value: Value, { op, path, from, value: given }: PatchOperation): Value {
  const keys = pathOf(path)
  switch (op) {
    case 'add':
    case 'replace':
    case 'upsert':
      return change(value, keys, () => wanted(given), op)
    case 'remove':
      return change(value, keys, () => undefined, 'replace')
    case 'test':
      if (!isSame(print(read(value, keys)), wanted(given))) throw refused('the value is another')
      return value
    case 'copy':
      return change(value, keys, () => print(read(value, pathOf(from ?? ''))), 'add')
    case 'move': {
      const source = pathOf(from ?? '')
      if (keys.length > source.length && source.every((key, i) => keys[i] === key)) throw refused('a value cannot move into itself')
      const moved = read(value, source)
      return change(
        change(value, source, () => undefined, 'replace'),
        keys,
        () => moved,
        'add',
      )
    }
  }
}

/** @param make the new value at the path; undefined: nothing is there any longer */
function change(value: Value, [key, ...rest]: readonly string[], make: () => Value | undefined, how: 'add' | 'replace' | 'upsert'): Value {
  if (key === undefined) return make() ?? 'null'
  const at = opened(value)
  if (at instanceof Map) {
    const present = at.get(key) ?? (how === 'upsert' && rest.length > 0 ? '{}' : undefined)
    if (present === undefined && (rest.length > 0 || how === 'replace')) throw refused(`there is no \`${key.slice(0, 64)}\``)
    const next = rest.length === 0 ? make() : change(present as Value, rest, make, how)
    if (next === undefined) at.delete(key)
    else at.set(key, next)
    return at
  }
  if (!Array.isArray(at)) throw refused('the path leads into a value that has no parts')
  if (how === 'upsert' && rest.length > 0 && key === String(at.length)) at.push('{}')
  const isAdding = rest.length === 0 && how !== 'replace'
  const place = index(key, at.length, isAdding)
  if (isAdding) at.splice(place, 0, make() as Value)
  else {
    const next = rest.length === 0 ? make() : change(at[place] as Value, rest, make, how)
    at.splice(place, 1, ...(next === undefined ? [] : [next]))
  }
  return at
}

/** @returns undefined where there is nothing */
export function valueAt(text: JsonText, keys: readonly string[]): JsonText | undefined {
  let at: JsonText | undefined = text
  for (const key of keys) {
    if (at?.startsWith('[')) at = /^(?:0|[1-9]\d{0,9})$/.test(key) ? elementsOf(at)[Number(key)] : undefined
    else if (at?.startsWith('{')) at = membersOf(at).get(key)
    else return undefined
  }
  return at
}

/** Takes nothing apart for good: what is read stays as it was written. */
function read(value: Value, keys: readonly string[]): Value {
  let at = value
  for (const key of keys) {
    const parts = opened(at)
    const next = parts instanceof Map ? parts.get(key) : Array.isArray(parts) ? parts[index(key, parts.length, false)] : undefined
    if (next === undefined) throw refused(`there is no \`${key.slice(0, 64)}\``)
    at = next
  }
  return at
}

function index(key: string, length: number, isAdding: boolean): number {
  if (key === '-' && isAdding) return length
  const at = /^(?:0|[1-9]\d{0,9})$/.test(key) ? Number(key) : Number.NaN
  if (!(at < length || (isAdding && at === length))) throw refused(`there is no element \`${key.slice(0, 64)}\``)
  return at
}

/** The keys of a JSON pointer. @throws PdpError ERR_BUNDLE_DATA */
export function pathOf(path: string): string[] {
  if (path !== '' && !/^(?:\/(?:[^~/]|~[01])*)+$/.test(path)) throw refused('the path is no JSON pointer')
  return parsePointer(path)
}

/** Values are the same when their members are, in any order; numbers are compared by value. */
export function isSame(a: JsonText, b: JsonText): boolean {
  return canonical(JSON.parse(a)) === canonical(JSON.parse(b))
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner) ? Object.fromEntries(Object.entries(inner).sort()) : inner,
  )
}

function wanted(value: JsonText | undefined): JsonText {
  if (value === undefined) throw refused('a value is missing')
  return value
}

function refused(what: string): PdpError {
  return new PdpError('ERR_BUNDLE_DATA', what)
}
