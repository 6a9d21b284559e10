// Whether a value is one that every service reads as it stands: found out on the value itself, which takes less than reading its text
// strictly. Not what a question has to be (plain-question.ts), and not what its texts have to be.

/** Members of every object in JavaScript, which a service may refuse as names; and `prototype`. */
const refusedNames = new Set([...Object.getOwnPropertyNames(Object.prototype), 'prototype'])
/** As it is written: no exponent, no more digits than any reader keeps. */
const shortFraction = /^-?\d{1,7}\.\d{1,7}$/
const maxInteger = 1e14

/**
 * @param depth objects and lists within one another that are left, this one included
 * @returns false: it may be, and its text has to be read to know
 */
export function isOrdinary(value: unknown, depth: number): boolean {
  if (typeof value === 'string' || typeof value === 'boolean' || value === undefined || value === null) return true
  if (typeof value === 'number') return Number.isInteger(value) ? Math.abs(value) < maxInteger : shortFraction.test(String(value))
  if (typeof value !== 'object' || depth === 0 || (value as { readonly toJSON?: unknown }).toJSON !== undefined) return false
  if (Array.isArray(value)) return value.every((element) => isOrdinary(element, depth - 1))
  if (Object.getPrototypeOf(value) !== Object.prototype) return false
  for (const name in value)
    if (refusedNames.has(name) || !isOrdinary((value as Readonly<Record<string, unknown>>)[name], depth - 1)) return false
  return true
}
