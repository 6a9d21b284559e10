// The key of a decision: equal exactly where everything that is read is the same text, whatever else the input holds.
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { membersOf } from '../../src/decision/json-text.ts'
import { projectionOf } from '../../src/decision/projection.ts'

/** What is read, in the plainest way; undefined where there is nothing. */
function parts(json: string, paths: readonly (readonly string[])[]): (string | undefined)[] {
  return paths.map((path) =>
    path.reduce<string | undefined>((at, name) => (at?.startsWith('{') ? membersOf(at).get(name) : undefined), json.trim()),
  )
}

const names = ['a', 'b', 'aa', '', 'é', '"', 'a.b', '0']
/** JSON text with spaces and escapes here and there. */
const space = fc.constantFrom('', ' ', '  ', '\n')
const name = fc
  .constantFrom(...names)
  .chain((text) =>
    fc
      .constantFrom(
        JSON.stringify(text),
        `"${[...text].map((c) => `\\u${(c.codePointAt(0) as number).toString(16).padStart(4, '0')}`).join('')}"`,
      )
      .map((written) => [text, written] as const),
  )
const { value } = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(
      '1',
      '1.0',
      '-0',
      '0',
      '9007199254740992',
      '9007199254740993',
      '"1"',
      '"a\\"b"',
      '"}"',
      '"\\\\"',
      '"a,b"',
      'true',
      '"true"',
      'null',
      '[]',
      '{}',
    ),
    fc.array(tie('value'), { maxLength: 3 }).chain((items) => space.map((s) => `[${s}${items.join(`${s},`)}]`)),
    fc
      .uniqueArray(fc.tuple(name, tie('value')), { maxLength: 4, selector: ([[text]]) => text })
      .chain((members) =>
        fc.tuple(space, space).map(([s, t]) => `{${s}${members.map(([[, written], of]) => `${written}${t}:${s}${of}${t}`).join(`,${s}`)}}`),
      ),
  ),
}))
const path = fc.array(fc.constantFrom(...names), { maxLength: 3 })
/** None within another, as the toolchain gives them. */
const paths = fc.array(path, { minLength: 1, maxLength: 4 }).map((all) => {
  const sorted = [...new Map(all.map((one) => [JSON.stringify(one), one])).values()].sort((a, b) => a.length - b.length)
  return sorted.filter((one, i) => !sorted.slice(0, i).some((shorter) => shorter.every((part, j) => part === one[j])))
})

test('two inputs share a key exactly where all that is read is the same', () => {
  fc.assert(
    fc.property(value, value, paths, (a, b, read) => {
      const projection = projectionOf(read)
      const same = JSON.stringify(parts(a, read)) === JSON.stringify(parts(b, read))
      expect([projection.of(a) === projection.of(b), a, b, read]).toEqual([same, a, b, read])
    }),
    { numRuns: 20_000, examples: [['{"a":1}', '{"a":1,"b":2}', [['a']]]] },
  )
})

test('of a key that is there twice the last counts, with all that is below', () => {
  const projection = projectionOf([['a', 'id'], ['a', 'n'], ['b']])
  expect(projection.of('{"a":{"id":1,"n":2},"a":{"n":3}}')).toBe(projection.of('{"a":{"n":3}}'))
  expect(projection.of('{"a":{"id":1},"a":7}')).toBe(projection.of('{}'))
  expect(projection.of('{"b":1,"\\u0062":2}')).toBe(projection.of('{"b":2}'))
})

test('an input beside noise is the same input', () => {
  fc.assert(
    fc.property(value, fc.nat(), (a, noise) => {
      const projection = projectionOf([['a', 'id'], ['b']])
      expect(projection.of(`{"a":{"id":${a}},"noise":${noise}}`)).toBe(projection.of(`{"noise":"x", "a" : { "t":[{}], "id":${a} }}`))
    }),
  )
})

describe('what could be taken for one another', () => {
  test.each([
    [['[["a"],"b"]', '["a",["b"]]', '["a","b"]', '["a,b"]', '"a,b"']],
    [['1', '1.0', '"1"', '[1]', 'true', '"true"', 'null', '"null"', '""', '{}', '[]']],
    [['0', '-0', '0.0', 'false']],
    [['9007199254740992', '9007199254740993', '9007199254740992.0']],
    [['"é"', '"e\u0301"', '"E\u0301"', '"é "']],
    [['"3:abc"', '"3:ab"', '"-"', '"!"', '"a\\u0000b"']],
  ])('%s', (values) => {
    const projection = projectionOf([['x'], ['y', 'z']])
    const keys = values.flatMap((one) =>
      [`{"x":${one}}`, `{"y":{"z":${one}}}`, `{"x":${one},"y":{"z":${one}}}`, `{"y":${one}}`].map((json) => projection.of(json)),
    )
    // The last of each is no object with `z`, so nothing of it can be read: they share the key of an empty input.
    const distinct = new Set(keys)
    expect(distinct.size).toBe(values.length * 3 + 1)
    expect(projection.of('{}')).toBe(projection.of(`{"y":${values[0]}}`))
  })

  test('parts that stand beside each other', () => {
    const projection = projectionOf([['a'], ['b']])
    const texts = ['1', '11', '111', '"x"', '"x1:"', '"1:x"', '"-"', '-1', '"x","b":"y"'.slice(0, 3)]
    const keys = texts.flatMap((a) => [
      ...texts.map((b) => projection.of(`{"a":${a},"b":${b}}`)),
      projection.of(`{"a":${a}}`),
      projection.of(`{"b":${a}}`),
    ])
    expect(new Set(keys).size).toBe(new Set(texts).size ** 2 + 2 * new Set(texts).size)
  })

  test('no input, and an empty one', () => expect(projectionOf([['a']]).of(undefined)).not.toBe(projectionOf([['a']]).of('{}')))
})
