// Rego values as literals, with a liking for those on which engines differ: the edges of integers, numbers that are
// equal but written differently, empty and foreign strings, nested and empty collections.
import type { Tape } from './tape.ts'

// biome-ignore format: rows of a table
const integers = ['0', '1', '2', '3', '-1', '7', '10', '-7', '100', '255', '65536', '2147483647', '-2147483648', '2147483648', '4294967296', '999999999999999', '-999999999999999', '1000000000000000', '9007199254740993', '-9007199254740993', '9223372036854775807', '-9223372036854775808', '18446744073709551616', '123456789012345678901234567890']
// biome-ignore format: rows of a table
const fractions = ['0.5', '-0.5', '1.0', '1.5', '2.50', '0.1', '0.2', '3.14159265358979323846', '1e3', '1E+2', '100e-2', '1e0', '1e-3', '5e-324', '1e400', '-1e400', '-0', '-0.0', '1e18', '0.30000000000000004', '99999999999999.9', '2.2250738585072011e-308']
// biome-ignore format: rows of a table
const words = ['a', '', 'b', 'c', 'abc', 'ABC', 'a.b.c', '/api/v1/users', 'alice', '10', '1.5', ' x ', 'true', 'é', 'Äöü', 'ßΣς', 'İıǅ', '日本語', 'a😀b', 'e\u0301', '\u0000x', '\t\n\r\u0001\u007f', 'a"b\\c', '<&>', '\u2028', '\u00a0x\u2003', '\ufeff', '%41+%20', '{}', '[1,2,{"a":1.0}]', '-3', '0x10', '1e5', '1_000']

/** A string literal; what an editor would not show is escaped. */
export const quote = (text: string): string =>
  JSON.stringify(text).replace(
    /[\u007f-\u00a0\u2000-\u200f\u2028\u2029\ufeff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )

/** Where a large number would make a large result. */
export function smallNumber(tape: Tape): string {
  return tape.pick(['0', '1', '2', '3', '-1', '7', '10', '-7', '100', '0.5', '1.0', '1e1', '-0', '255'])
}

export function number(tape: Tape): string {
  return tape.chance(40) ? tape.pick(fractions) : tape.pick(integers)
}

export function string(tape: Tape, extra: readonly string[] = []): string {
  return quote(extra.length > 0 && !tape.chance(25) ? tape.pick(extra) : tape.pick(words))
}

export interface ValueOptions {
  /** Only what JSON has: no sets, keys are strings. */
  readonly json?: boolean
  readonly strings?: readonly string[] | undefined
}

export function value(tape: Tape, depth: number, options: ValueOptions = {}): string {
  const member = () => value(tape, depth - 1, options)
  switch (tape.below(depth > 0 ? (options.json ? 9 : 11) : 5)) {
    case 0:
      return number(tape)
    case 1:
    case 2:
      return string(tape, options.strings)
    case 3:
      return tape.pick(['true', 'false'])
    case 4:
      return 'null'
    case 5:
    case 6:
      return array(tape, member)
    case 7:
    case 8:
      return object(tape, member, options)
    default:
      return set(tape, member)
  }
}

export function array(tape: Tape, member: () => string): string {
  return `[${tape.list(4, member).join(', ')}]`
}

export function set(tape: Tape, member: () => string): string {
  const members = tape.list(4, member)
  return members.length === 0 ? 'set()' : `{${members.join(', ')}}`
}

/** Keys that are not strings. */
function otherKey(tape: Tape): string {
  return tape.pick(['1', '2', '10', 'null', 'true', '1.5', '[1, "<&>"]', '{"k": 1, "b": [2]}', '{3, 1, 2}', 'set()'])
}

const keys = ['a', 'b', 'c', 'd', 'k', 'é', '']

export function object(tape: Tape, member: () => string, options: ValueOptions = {}): string {
  const members = new Map<string, string>()
  for (let left = tape.below(5); left > 0; left--) {
    const key = !options.json && tape.chance(15) ? otherKey(tape) : quote(tape.pick(keys))
    members.set(key, member())
  }
  return `{${[...members].map(([k, v]) => `${k}: ${v}`).join(', ')}}`
}
