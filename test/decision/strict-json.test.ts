import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { elementsOf, membersOf, toSingleLine } from '../../src/decision/json-text.ts'
import { type JsonLimits, parseStrictJson } from '../../src/decision/strict-json.ts'
import { decodeUtf8 } from '../../src/decision/utf8.ts'
import { codeOf } from '../support/code-of.ts'

const limits: JsonLimits = { maxDepth: 16, maxMembers: 100, forbidPrototypeKeys: true }

describe('parseStrictJson', () => {
  test.each([
    ['a duplicate key', '{"role":"user","role":"admin"}', 'ERR_DUPLICATE_KEY'],
    ['a duplicate key behind an escape', '{"role":1,"r\\u006fle":2}', 'ERR_DUPLICATE_KEY'],
    ['a nested duplicate key', '{"a":[{"b":{"c":1,"c":1}}]}', 'ERR_DUPLICATE_KEY'],
    ['a duplicate among many keys', `{${Array.from({ length: 20 }, (_, i) => `"k${i}":1`)},"k3":2}`, 'ERR_DUPLICATE_KEY'],
    ['__proto__', '{"a":{"__proto__":{"x":1}}}', 'ERR_FORBIDDEN_KEY'],
    ['__proto__ behind escapes', '{"\\u005f_proto__":1}', 'ERR_FORBIDDEN_KEY'],
    ['constructor.prototype', '{"constructor":{"prototype":{"x":1}}}', 'ERR_FORBIDDEN_KEY'],
    ['toString', '[{"toString":1}]', 'ERR_FORBIDDEN_KEY'],
    ['half a surrogate pair in a value', '{"a":"\\ud800"}', 'ERR_INVALID_UTF8'],
    ['half a surrogate pair in a key', '{"\\udc00":1}', 'ERR_INVALID_UTF8'],
    ['1,001 digits', `{"a":${'1'.repeat(1_001)}}`, 'ERR_UNSAFE_NUMBER'],
    ['an exponent beyond 1,000', '{"a":1e1001}', 'ERR_UNSAFE_NUMBER'],
    ['an exponent below -1,000', '[1E-1001]', 'ERR_UNSAFE_NUMBER'],
    ['an exponent of 400 digits', `[1e${'9'.repeat(400)}]`, 'ERR_UNSAFE_NUMBER'],
    ['17 levels', `${'['.repeat(17)}${']'.repeat(17)}`, 'ERR_TOO_DEEP'],
    ['100,000 opening brackets', '['.repeat(100_000), 'ERR_TOO_DEEP'],
    ['101 members', `{${Array.from({ length: 101 }, (_, i) => `"k${i}":1`)}}`, 'ERR_TOO_MANY_MEMBERS'],
    ['102 elements', `[${'1,'.repeat(101)}1]`, 'ERR_TOO_MANY_MEMBERS'],
    ['NaN', '{"a":NaN}', 'ERR_INVALID_JSON'],
    ['a comment', '{"a":1/*x*/}', 'ERR_INVALID_JSON'],
    ['a trailing comma', '{"a":1,}', 'ERR_INVALID_JSON'],
    ['single quotes', "{'a':1}", 'ERR_INVALID_JSON'],
    ['a byte order mark', '\ufeff{"a":1}', 'ERR_INVALID_JSON'],
    ['a leading zero', '[01]', 'ERR_INVALID_JSON'],
    ['a string without end', '{"a":"b\\"}', 'ERR_INVALID_JSON'],
    ['an escape without end', '{"a":"\\', 'ERR_INVALID_JSON'],
    ['nothing', '', 'ERR_INVALID_JSON'],
    ['a raw line break in a string', '{"a":"\n"}', 'ERR_INVALID_JSON'],
  ])('refuses %s', (_what, text, code) => {
    expect(codeOf(() => parseStrictJson(text, limits))).toBe(code)
  })

  test.each([
    ['a pair of surrogates', '{"a":"\\ud83d\\ude00"}'],
    ['large and odd numbers', '{"a":12345678901234567890,"b":1e400,"c":-0,"d":1.0}'],
    ['a value that looks like a key', '{"a":"a","b":"a"}'],
    ['the same key in two objects', '[{"a":1},{"a":1}]'],
    ['16 levels', `${'['.repeat(16)}${']'.repeat(16)}`],
    ['1,000 digits', `[${'1'.repeat(1_000)}]`],
    ['a falsy document', 'false'],
  ])('accepts %s', (_what, text) => {
    expect(parseStrictJson(text, limits).value).toEqual(JSON.parse(text))
  })

  test('leaves Object.prototype as it is', () => {
    const before = Object.getOwnPropertyNames(Object.prototype)
    codeOf(() => parseStrictJson('{"__proto__":{"polluted":true}}', { ...limits, forbidPrototypeKeys: false }))
    expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(before)
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
  })

  test('gives the source text of members, numbers as they were written', () => {
    const { members } = parseStrictJson('{ "a" : 1.0 , "b":[1, 2] ,"c":{"a":-0}, "d":"x,}\\"" }', limits)
    expect(Object.fromEntries(members)).toEqual({ a: '1.0', b: '[1, 2]', c: '{"a":-0}', d: '"x,}\\""' })
  })

  test('judges 100,000 brackets in less than 5 ms', () => {
    const text = '['.repeat(100_000)
    codeOf(() => parseStrictJson(text, limits))
    const started = performance.now()
    codeOf(() => parseStrictJson(text, limits))
    expect(performance.now() - started).toBeLessThan(5)
  })
})

describe('any JSON value', () => {
  const unbounded = { maxDepth: 1_000, maxMembers: 1_000_000, forbidPrototypeKeys: false }
  const space = fc.constantFrom('', ' ', '\n', '\t\r\n ')
  const spaced = fc
    .tuple(fc.jsonValue({ maxDepth: 4 }), space)
    .map(([value, s]) => (s === '' ? JSON.stringify(value) : JSON.stringify(value, undefined, 1).replaceAll('\n', `\n${s}`)))

  test('is read as JSON.parse reads it', () => {
    fc.assert(
      fc.property(spaced, (text) => expect(parseStrictJson(text, unbounded).value).toEqual(JSON.parse(text))),
      { numRuns: 2_000 },
    )
  })

  test('falls apart into members and elements whose texts have the same values', () => {
    fc.assert(
      fc.property(spaced, (text) => {
        const value = JSON.parse(text) as unknown
        if (Array.isArray(value)) expect(elementsOf(text).map((t) => JSON.parse(t))).toEqual(value)
        else if (typeof value === 'object' && value !== null) {
          const members = [...membersOf(text)].map(([k, t]) => [k, JSON.parse(t)])
          // Values may have a toString of their own, so they are not compared by their text.
          expect(new Map(members as [string, unknown][])).toEqual(new Map(Object.entries(value)))
        }
      }),
      { numRuns: 2_000 },
    )
  })

  test('keeps its value on a single line without control characters', () => {
    const text = fc.jsonValue().map((value) => JSON.stringify(value, undefined, 2))
    fc.assert(
      fc.property(text, fc.string({ unit: 'binary' }), (json, odd) => {
        const line = toSingleLine(`{"a":${json},"b":${JSON.stringify(odd)}}`)
        expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/)
        expect(JSON.parse(line)).toEqual({ a: JSON.parse(json), b: odd })
      }),
      { numRuns: 1_000 },
    )
  })

  test('is read onto one line, also its members', () => {
    const { text, members } = parseStrictJson('{\n"a" :\r\n [1,\t"\u2028\u007f"]}', unbounded)
    expect(text).toBe('{ "a" :  [1, "\\u2028\\u007f"]}')
    expect(members.get('a')).toBe('[1, "\\u2028\\u007f"]')
  })

  test('is never accepted when JSON.parse refuses it, and the scan always ends', () => {
    const fragment = fc.constantFrom('{', '}', '[', ']', ',', ':', '"', '\\', '"a"', '1', '-', 'e', '\\u00', 'null', ' ')
    fc.assert(
      fc.property(
        fc.array(fragment, { maxLength: 30 }).map((parts) => parts.join('')),
        (text) => {
          const strict = codeOf(() => parseStrictJson(text, unbounded))
          const plain = codeOf(() => JSON.parse(text))
          if (plain !== 'accepted') expect(strict).not.toBe('accepted')
        },
      ),
      { numRuns: 5_000 },
    )
  })
})

describe('decodeUtf8', () => {
  test.each([
    ['an overlong slash', [0xc0, 0xaf]],
    ['a surrogate', [0xed, 0xa0, 0x80]],
    ['a lone continuation byte', [0x80]],
    ['a cut sequence', [0xe2, 0x82]],
    ['UTF-16', [0xff, 0xfe, 0x7b, 0x00]],
  ])('refuses %s', (_what, bytes) => {
    expect(codeOf(() => decodeUtf8(Uint8Array.from(bytes)))).toBe('ERR_INVALID_UTF8')
  })

  test('reads what is valid', () => expect(decodeUtf8(Buffer.from('{"a":"é😀"}'))).toBe('{"a":"é😀"}'))
})
