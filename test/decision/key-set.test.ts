import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { KeySet } from '../../src/decision/key-set.ts'
import { checkStrictJson } from '../../src/decision/strict-json.ts'

test('tells keys apart as a set of strings does, however they are spelled', () => {
  const key = fc.oneof(fc.nat(300).map(String), fc.constantFrom('', 'a', 'b', 'ab', 'é', '日本'))
  fc.assert(
    fc.property(fc.array(fc.tuple(key, fc.boolean()), { size: 'max', maxLength: 600 }), (keys) => {
      const text = keys.map(([one]) => JSON.stringify(one)).join('')
      const [ours, theirs] = [new KeySet(text), new Set<string>()]
      let at = 0
      for (const [one, asWritten] of keys) {
        const known = asWritten ? ours.addWritten(one) : ours.addPlain(at + 1, at + 1 + one.length)
        expect(known).toBe(theirs.has(one))
        theirs.add(one)
        at += one.length + 2
      }
    }),
    { numRuns: 200 },
  )
})

const limits = { maxDepth: 9, maxMembers: Number.POSITIVE_INFINITY, forbidPrototypeKeys: false }
const large = Array.from({ length: 60_000 }, (_, i) => `"k${i}":${i}`)
const wrapped = (members: readonly string[]) => `{"inner":{${members.join(',')}}}`

test('an object of 60,000 keys is taken, and one of them twice is found', () => {
  expect([...checkStrictJson(wrapped(large), limits).keys()]).toEqual(['inner'])
  for (const twice of ['"k7":0', '"k59999":0', '"\\u006b7":0', '"k5999\\u0039":0']) {
    expect(() => checkStrictJson(wrapped([...large, twice]), limits)).toThrow('appears twice')
    expect(() => checkStrictJson(wrapped([twice, ...large]), limits)).toThrow('appears twice')
  }
})

test('takes a time that grows with the length of the text alone', () => {
  // Long strings without a single escape: each used to look for one to the end of the text.
  const text = JSON.stringify(Array.from({ length: 300_000 }, (_, i) => `value ${i}`))
  const began = performance.now()
  checkStrictJson(text, limits)
  expect(performance.now() - began).toBeLessThan(3_000)
})
