// Takes values out of JSON text by JSON pointer, and leaves every other character of every number as it was.
// @see RFC 6901
import { parsePointer } from '../decision/json-text.ts'

/**
 * Replaces the values that pointers name by null. A pointer to nothing does nothing; `*` as a part stands for
 * every member or element.
 * @param json a text that JSON.parse accepts
 */
export function maskJson(json: string, pointers: readonly string[]): string {
  // rawJSON keeps the source text of numbers; `context.source` is there for primitive values only.
  const value = JSON.parse(json, (_key, parsed: unknown, context?: { source?: string }) =>
    typeof parsed === 'number' && context?.source !== undefined ? rawJson(context.source) : parsed,
  )
  for (const pointer of pointers) mask(value, parsePointer(pointer))
  return JSON.stringify(value)
}

function mask(value: unknown, path: readonly string[]): void {
  const [key, ...rest] = path
  if (key === undefined || typeof value !== 'object' || value === null) return
  const container = value as Record<string, unknown>
  const keys = key === '*' ? Object.keys(container) : Object.hasOwn(container, key) ? [key] : []
  for (const k of keys) {
    if (rest.length === 0) container[k] = null
    else mask(container[k], rest)
  }
}

const rawJson = (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON
