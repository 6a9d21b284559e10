// Replaces values in JSON text by JSON pointer, and leaves every other character of every number as it was.
// @see RFC 6901
import { parsePointer } from '../decision/json-text.ts'

export interface MaskRule {
  /** `*` as a part stands for every member or element; a pointer to nothing does nothing. */
  readonly pointer: string
  /** @returns what stands there instead */
  readonly replace: (value: unknown) => unknown
}

/** One whose pointer was taken apart, once for all texts. */
export interface ReadyRule extends MaskRule {
  readonly path: readonly string[]
  /** JSON texts of the names on it, but for the first of several: what stands there has nothing to mask without all of them. */
  readonly names: readonly string[]
}

export function readyRule({ pointer, replace }: MaskRule): ReadyRule {
  const path = parsePointer(pointer)
  const below = path.length > 1 ? path.slice(1) : path
  const names = below.filter((part) => part !== '*' && !/^\d+$/.test(part)).map((part) => JSON.stringify(part))
  return { pointer, replace, path, names }
}

/**
 * Most texts have nothing of what is masked, and are not parsed.
 * @param json the text, or as much of it as says all its names
 * @returns the rules all of whose names can be in it, in whatever spelling
 */
export function rulesThatMayLead<R extends ReadyRule>(json: string, rules: readonly R[]): readonly R[] {
  if (rules.length === 0 || json.includes('\\')) return rules
  // Rules often go the same way for a while.
  let missing: string | undefined
  return rules.filter(({ names }) => {
    if (missing !== undefined && names.includes(missing)) return false
    const absent = names.find((name) => !json.includes(name))
    missing = absent ?? missing
    return absent === undefined
  })
}

/**
 * @param json a text that JSON.parse accepts
 * @returns the text, and the pointers that led to something
 */
export function maskJson(json: string, rules: readonly ReadyRule[]): { readonly json: string; readonly applied: readonly string[] } {
  // rawJSON keeps the source text of numbers; `context.source` is there for primitive values only.
  const value = JSON.parse(json, (_key, parsed: unknown, context?: { source?: string }) =>
    typeof parsed === 'number' && context?.source !== undefined ? rawJson(context.source) : parsed,
  )
  const applied = rules.filter(({ path, replace }) => mask(value, path, replace)).map(({ pointer }) => pointer)
  return applied.length === 0 ? { json, applied } : { json: JSON.stringify(value), applied }
}

export const toNull = (): null => null

/** @returns whether there was something */
function mask(value: unknown, path: readonly string[], replace: MaskRule['replace']): boolean {
  const [key, ...rest] = path
  if (key === undefined || typeof value !== 'object' || value === null) return false
  const container = value as Record<string, unknown>
  // The length of a list is its own, and no element.
  const keys = key === '*' ? Object.keys(container) : isEnumerable.call(container, key) ? [key] : []
  let isApplied = false
  for (const k of keys) {
    if (rest.length === 0) container[k] = replace(container[k])
    isApplied = rest.length === 0 || mask(container[k], rest, replace) || isApplied
  }
  return isApplied
}

/** Subject, action and resource stand in a record twice, so a pointer to one place covers the other. */
export function withTwins(pointer: string): readonly string[] {
  const twin = /^\/(?:input\/)?((?:subject|action|resource)(?:\/.*)?)$/.exec(pointer)?.[1]
  return twin === undefined ? [pointer] : [`/${twin}`, `/input/${twin}`]
}

const isEnumerable = Object.prototype.propertyIsEnumerable
const rawJson = (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON
