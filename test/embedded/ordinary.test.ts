// What is taken for ordinary is what a strict reading of its text takes, too, as it stands.
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { parseStrictJson } from '../../src/decision/strict-json.ts'
import { isOrdinary } from '../../src/embedded/ordinary.ts'

const limits = { maxDepth: 4, maxMembers: 10_000, forbidPrototypeKeys: true }
const names = fc.constantFrom('a', 'b', '__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', '__defineGetter__', 'toJSON')
const leaf = fc.oneof(
  fc.double(),
  fc.integer(),
  fc.maxSafeInteger(),
  fc.constantFrom(1e14, 1e15, -0, 0.5, null, true, undefined, 'a', new Date(0)),
)
const value = fc.letrec((tie) => ({
  any: fc.oneof({ maxDepth: 5 }, leaf, fc.array(tie('any'), { maxLength: 2 }), fc.dictionary(names, tie('any'), { maxKeys: 2 })),
})).any

test('is read strictly as it stands', () => {
  let ordinary = 0
  fc.assert(
    fc.property(value, (any) => {
      const asked = { context: any }
      if (!isOrdinary(asked, limits.maxDepth)) return
      ordinary++
      const text = JSON.stringify(asked)
      expect(parseStrictJson(text, limits).text).toBe(text)
      // No digit is lost on the way.
      expect(text).not.toMatch(/\d[eE]|\d{16}/)
    }),
    { numRuns: 20_000 },
  )
  expect(ordinary).toBeGreaterThan(1_000)
})

test.each<[string, unknown, boolean]>([
  ['nothing', undefined, true],
  ['a text', 'x', true],
  ['a number', -12.5, true],
  ['a list', [1, [2, ['x']]], true],
  ['a list too deep', [1, [2, [3, [4]]]], false],
  ['a number with many digits', 0.1 + 0.2, false],
  ['a large one', 1e15, false],
  ['one that is none', Number.NaN, false],
  ['an instance', new URL('http://a'), false],
  ['a number in an object, which is written as one', Object(1e21), false],
  ['an instance of a class', new Map(), false],
  ['a list that writes itself', Object.assign([], { toJSON: () => 1 }), false],
  ['a function', () => 1, false],
  ['a large integer', 1n, false],
])('%s', (_what, any, isIt) => expect(isOrdinary(any, 3)).toBe(isIt))
