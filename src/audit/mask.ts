// Replaces values in JSON text by JSON pointer, and leaves every other character of every number as it was.
// @see RFC 6901
import { parsePointer } from '../decision/json-text.ts'

export interface MaskRule {
  /** `*` as a part stands for every member or element; a pointer to nothing does nothing. */
  readonly pointer: string
  /** @returns what stands there instead */
  readonly replace: (value: unknown) => unknown
}

/**
 * @param json a text that JSON.parse accepts
 * @returns the text, and the pointers that led to something
 */
export function maskJson(json: string, rules: readonly MaskRule[]): { readonly json: string; readonly applied: readonly string[] } {
  // Most texts have nothing of it, and are not parsed.
  const mayBe = rules.filter(({ pointer }) => mayLead(json, pointer))
  if (mayBe.length === 0) return { json, applied: [] }
  // rawJSON keeps the source text of numbers; `context.source` is there for primitive values only.
  const value = JSON.parse(json, (_key, parsed: unknown, context?: { source?: string }) =>
    typeof parsed === 'number' && context?.source !== undefined ? rawJson(context.source) : parsed,
  )
  const applied = mayBe.filter(({ pointer, replace }) => mask(value, parsePointer(pointer), replace)).map(({ pointer }) => pointer)
  return applied.length === 0 ? { json, applied } : { json: JSON.stringify(value), applied }
}

/** Whether the last name of a pointer can be in a text, in whatever spelling. */
function mayLead(json: string, pointer: string): boolean {
  const last = parsePointer(pointer).findLast((part) => part !== '*' && !/^\d+$/.test(part))
  return last === undefined || json.includes(JSON.stringify(last)) || json.includes('\\')
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
