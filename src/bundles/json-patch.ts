// JSON Patch over JSON text, so that every digit of what is not touched stays.
// @see RFC 6902; RFC 6901
import { elementsOf, membersOf } from '../decision/json-text.ts'
import type { JsonText } from '../decision/request.ts'
import { PdpError } from '../errors.ts'

export interface PatchOperation {
  readonly op: 'add' | 'remove' | 'replace' | 'move' | 'copy' | 'test'
  readonly path: string
  /** Of move and copy. */
  readonly from?: string | undefined
  /** JSON text, of add, replace and test. */
  readonly value?: JsonText | undefined
}

/**
 * @param document JSON text of an object
 * @returns JSON text of an object
 * @throws PdpError ERR_BUNDLE_DATA where a path does not exist, a test fails, or the document would be no object
 */
export function applyPatch(document: JsonText, operations: readonly PatchOperation[]): JsonText {
  let text = document.trim()
  for (const [i, operation] of operations.entries()) {
    try {
      text = apply(text, operation)
    } catch (cause) {
      if (!(cause instanceof PdpError)) throw cause
      throw new PdpError('ERR_BUNDLE_DATA', `operation ${i} (${operation.op} \`${operation.path.slice(0, 128)}\`): ${cause.message}`, {
        cause,
      })
    }
  }
  if (!text.startsWith('{')) throw refused('the data must be an object')
  return text
}

function apply(text: JsonText, { op, path, from, value }: PatchOperation): JsonText {
  const keys = pathOf(path)
  switch (op) {
    case 'add':
      return change(text, keys, () => wanted(value), 'add')
    case 'replace':
      return change(text, keys, () => wanted(value), 'replace')
    case 'remove':
      return change(text, keys, () => undefined, 'replace')
    case 'test':
      if (!isSame(read(text, keys), wanted(value))) throw refused('the value is another')
      return text
    case 'copy':
      return change(text, keys, () => read(text, pathOf(from ?? '')), 'add')
    case 'move': {
      const source = pathOf(from ?? '')
      if (keys.length > source.length && source.every((key, i) => keys[i] === key)) throw refused('a value cannot move into itself')
      const moved = read(text, source)
      return change(
        change(text, source, () => undefined, 'replace'),
        keys,
        () => moved,
        'add',
      )
    }
  }
}

/** @param make the new value at the path; undefined: nothing is there any longer */
function change(text: JsonText, [key, ...rest]: readonly string[], make: () => JsonText | undefined, how: 'add' | 'replace'): JsonText {
  if (key === undefined) return make() ?? 'null'
  if (text.startsWith('{')) {
    const members = membersOf(text)
    const present = members.get(key)
    if (present === undefined && (rest.length > 0 || how === 'replace')) throw refused(`there is no \`${key.slice(0, 64)}\``)
    const next = rest.length === 0 ? make() : change(present as JsonText, rest, make, how)
    if (next === undefined) members.delete(key)
    else members.set(key, next)
    return `{${Array.from(members, ([name, value]) => `${JSON.stringify(name)}:${value}`).join(',')}}`
  }
  if (!text.startsWith('[')) throw refused('the path leads into a value that has no parts')
  const elements = elementsOf(text)
  const isAdding = rest.length === 0 && how === 'add'
  const at = index(key, elements.length, isAdding)
  if (isAdding) elements.splice(at, 0, make() as JsonText)
  else {
    const next = rest.length === 0 ? make() : change(elements[at] as JsonText, rest, make, how)
    elements.splice(at, 1, ...(next === undefined ? [] : [next]))
  }
  return `[${elements.join(',')}]`
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

function read(text: JsonText, keys: readonly string[]): JsonText {
  let at = text
  for (const key of keys) {
    const elements = at.startsWith('[') ? elementsOf(at) : undefined
    const next = elements === undefined ? membersOf(at).get(key) : elements[index(key, elements.length, false)]
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
  if (path === '') return []
  if (!/^(?:\/(?:[^~/]|~[01])*)+$/.test(path)) throw refused('the path is no JSON pointer')
  return path
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
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
