// Which questions a client takes for one: none that is sent otherwise.
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { Asked } from '../../src/client/asked.ts'
import type { Question } from '../../src/client/index.ts'

const question = (context: unknown, more: object = {}): Question =>
  ({
    subject: { type: 'user', id: 'ann' },
    action: { name: 'read' },
    resource: { type: 'doc', id: '1', properties: { tags: ['a', 'b'] } },
    context,
    ...more,
  }) as Question
const isSame = (one: Question, other: Question) => new Asked(one, {}).isSame(other, {})

class Money {
  readonly amount: number
  constructor(amount: number) {
    this.amount = amount
  }
}
class Secret {
  readonly #text: string
  constructor(text: string) {
    this.#text = text
  }
  toJSON() {
    return this.#text
  }
}
const hidden = (value: object, toJSON: unknown) => Object.defineProperty(value, 'toJSON', { value: toJSON, enumerable: false })

describe('is one', () => {
  test.each<[string, () => unknown]>([
    ['a plain context', () => ({ hour: 10, nested: { list: [1, 'x', null, { deep: true }] } })],
    ['none', () => undefined],
    ['members without a value', () => ({ a: undefined, b: 1 })],
    ['empty values', () => ({ a: {}, b: [], c: '' })],
    ['a date', () => ({ at: new Date(5) })],
    ['instances', () => ({ cost: new Money(5), who: new Secret('x') })],
    ['functions and holes', () => ({ a: () => 1, b: new Array(2) })],
    ['names that objects have', () => JSON.parse('{"__proto__":{"a":1},"constructor":2,"toString":"x"}')],
    ['an object without a prototype', () => Object.assign(Object.create(null), { a: 1 })],
  ])('%s, made twice', (_what, make) => expect(isSame(question(make()), question(make()))).toBe(true))
})

describe('is another one', () => {
  test.each<[string, unknown, unknown]>([
    ['of another value', { hour: 10 }, { hour: 11 }],
    ['of another type', { a: 1 }, { a: '1' }],
    ['of true and 1', { a: true }, { a: 1 }],
    ['of null and none', { a: null }, {}],
    ['of null and false', { a: null }, { a: false }],
    ['of an empty text and null', { a: '' }, { a: null }],
    ['of a list and its only element', { a: ['x'] }, { a: 'x' }],
    ['of a list and an object with its indexes', { a: ['x'] }, { a: { 0: 'x' } }],
    ['of a list and a longer one', { a: [1] }, { a: [1, 2] }],
    ['of a list and a shorter one', { a: [1, 2] }, { a: [1] }],
    ['of a list with a hole and one without', { a: [undefined, 1] }, { a: [1] }],
    ['of another nesting', { a: [['x'], 'y'] }, { a: ['x', ['y']] }],
    ['of one member more', { a: 1 }, { a: 1, b: 2 }],
    ['of one member less', { a: 1, b: 2 }, { a: 1 }],
    ['of another name', { a: 1 }, { b: 1 }],
    ['of texts that are written alike', { a: '\u00e9' }, { a: 'e\u0301' }],
    ['of numbers that are next to each other', { a: 2 ** 53 }, { a: 2 ** 53 - 1 }],
    ['of what is no object', 'x', { 0: 'x' }],
    ['of a text as an object', { a: new String('x') }, { a: { 0: 'x' } }],
    ['of a date and another', { a: new Date(5) }, { a: new Date(6) }],
    ['of a date and an empty object', { a: new Date(5) }, { a: {} }],
    ['of an empty object and a date', { a: {} }, { a: new Date(5) }],
    ['of an empty object and an instance that writes itself', { a: {} }, { a: new Secret('x') }],
    ['of an empty list and one that writes itself', { a: [] }, { a: hidden([], () => 1) }],
    ['of an object and one that writes itself', { a: { b: 1 } }, { a: hidden({ b: 1 }, () => 1) }],
    ['of what an object has by itself and from its prototype', { a: { b: 1 } }, { a: Object.create({ b: 1 }) }],
    ['of a prototype and a member of that name', JSON.parse('{"__proto__":{}}'), {}],
    ['of nothing and a prototype as a member', {}, JSON.parse('{"__proto__":{}}')],
    ['of one member and another that every object has', { x: 1 }, JSON.parse('{"__proto__":{}}')],
    ['of a function and a value', { a: () => 1 }, { a: 1 }],
    ['of a value and a function', { a: 1 }, { a: () => 1 }],
  ])('%s', (_what, one, other) => expect(isSame(question(one), question(other))).toBe(false))

  test.each<[string, object]>([
    ['subject', { subject: { type: 'user', id: 'ann', properties: {} } }],
    ['type of the subject', { subject: { type: 'service', id: 'ann' } }],
    ['action', { action: { name: 'read', properties: { dry: true } } }],
    ['resource', { resource: { type: 'doc', id: '1', properties: { tags: ['b', 'a'] } } }],
  ])('with another %s', (_what, more) => expect(isSame(question({}), question({}, more))).toBe(false))

  test('for another policy, or with another token', () => {
    const asked = new Asked(question({}), { policy: 'a', token: 't' })
    expect(asked.isSame(question({}), { policy: 'a', token: 't' })).toBe(true)
    for (const call of [{}, { policy: 'a' }, { token: 't' }, { policy: 'b', token: 't' }, { policy: 'a', token: 'u' }])
      expect(asked.isSame(question({}), call)).toBe(false)
  })

  test('once it has changed', () => {
    const context = { list: [1, { hour: 10 }] }
    const asked = new Asked(question(context), {})
    expect(asked.isSame(question(context), {})).toBe(true)
    ;(context.list[1] as { hour: number }).hour = 11
    expect(asked.isSame(question(context), {})).toBe(false)
  })
})

// Of few names and values, so that many pairs are nearly the same.
const leaf = fc.constantFrom<unknown>(0, -0, 1, '1', '', 'a', null, undefined, true, Number.NaN, new Date(0), new Money(1), new Secret('a'))
const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    leaf,
    fc.array(tie('any'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom('a', 'b', '0', '__proto__', 'toJSON'), tie('any'), { maxKeys: 3, noNullPrototype: false }),
  ),
})).any

test('what is the same is sent the same, and what is copied is the same', () => {
  let same = 0
  fc.assert(
    fc.property(value, value, (one, other) => {
      const isOne = isSame(question(one), question(other))
      if (isOne) {
        same++
        expect(JSON.stringify(question(one))).toBe(JSON.stringify(question(other)))
      }
      // NaN is not even the same as itself.
      const text = JSON.stringify({ one })
      expect(isSame(question(JSON.parse(text)), question(JSON.parse(text)))).toBe(true)
    }),
    { numRuns: 20_000 },
  )
  expect(same).toBeGreaterThan(100)
})
