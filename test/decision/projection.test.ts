// The key of a decision: equal exactly where everything that is read is the same text, whatever else the input holds.
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { membersOf } from '../../src/decision/json-text.ts'
import { hashOf, Projection } from '../../src/decision/projection.ts'

/** What is read, in the plainest way; undefined where there is nothing. */
function parts(json: string, paths: readonly (readonly string[])[]): (string | undefined)[] {
  return paths.map((path) =>
    path.reduce<string | undefined>((at, name) => (at?.startsWith('{') ? membersOf(at).get(name) : undefined), json.trim()),
  )
}

function hashIn(projection: Projection, json: string | undefined): number {
  projection.read(json)
  return projection.hash(1)
}

function keyOf(projection: Projection, json: string | undefined): string {
  projection.read(json)
  return projection.key()
}

const names = ['a', 'b', 'aa', '', 'é', '"', 'a.b', '0', '\\', 'a\\', 'a":', '":1,"']
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
      const projection = new Projection(read)
      const same = JSON.stringify(parts(a, read)) === JSON.stringify(parts(b, read))
      const key = keyOf(projection, a)
      const hash = hashIn(projection, a)
      expect([key === keyOf(projection, b), a, b, read]).toEqual([same, a, b, read])
      // Told from the input without putting its key together.
      projection.read(b)
      const at = '.'.length
      expect([projection.endIn(`.${key}1`, at), a, b, read]).toEqual([same ? at + key.length : expect.any(Number), a, b, read])
      expect(projection.endIn(key, 0) === key.length).toBe(same)
      if (same) expect(projection.hash(1)).toBe(hash)
    }),
    { numRuns: 20_000, examples: [['{"a":1}', '{"a":1,"b":2}', [['a']]]] },
  )
})

test('of a key that is there twice the last counts, with all that is below', () => {
  const projection = new Projection([['a', 'id'], ['a', 'n'], ['b']])
  expect(keyOf(projection, '{"a":{"id":1,"n":2},"a":{"n":3}}')).toBe(keyOf(projection, '{"a":{"n":3}}'))
  expect(keyOf(projection, '{"a":{"id":1},"a":7}')).toBe(keyOf(projection, '{}'))
  expect(keyOf(projection, '{"b":1,"\\u0062":2}')).toBe(keyOf(projection, '{"b":2}'))
})

test('an input beside noise is the same input', () => {
  fc.assert(
    fc.property(value, fc.nat(), (a, noise) => {
      const projection = new Projection([['a', 'id'], ['b']])
      expect(keyOf(projection, `{"a":{"id":${a}},"noise":${noise}}`)).toBe(
        keyOf(projection, `{"noise":"x", "a" : { "t":[{}], "id":${a} }}`),
      )
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
    const projection = new Projection([['x'], ['y', 'z']])
    const keys = values.flatMap((one) =>
      [`{"x":${one}}`, `{"y":{"z":${one}}}`, `{"x":${one},"y":{"z":${one}}}`, `{"y":${one}}`].map((json) => keyOf(projection, json)),
    )
    // The last of each is no object with `z`, so nothing of it can be read: they share the key of an empty input.
    const distinct = new Set(keys)
    expect(distinct.size).toBe(values.length * 3 + 1)
    expect(keyOf(projection, '{}')).toBe(keyOf(projection, `{"y":${values[0]}}`))
  })

  test('parts that stand beside each other', () => {
    const projection = new Projection([['a'], ['b']])
    const texts = ['1', '11', '111', '"x"', '"x1:"', '"1:x"', '"-"', '-1', '"x","b":"y"'.slice(0, 3)]
    const keys = texts.flatMap((a) => [
      ...texts.map((b) => keyOf(projection, `{"a":${a},"b":${b}}`)),
      keyOf(projection, `{"a":${a}}`),
      keyOf(projection, `{"b":${a}}`),
    ])
    expect(new Set(keys).size).toBe(new Set(texts).size ** 2 + 2 * new Set(texts).size)
  })

  test('what was read before leaves nothing behind', () => {
    const projection = new Projection([['a'], ['b', 'c']])
    const texts = ['{"a":1,"b":{"c":2}}', '{"a":1}', '{"b":{}}', '{"b":{"c":2}}', '[]', '{}', undefined]
    const fresh = texts.map((json) => keyOf(new Projection([['a'], ['b', 'c']]), json))
    for (const before of texts) {
      for (const [i, json] of texts.entries()) {
        projection.read(before)
        expect(keyOf(projection, json)).toBe(fresh[i])
      }
    }
  })

  test('texts of any length, with characters of several bytes', () => {
    const projection = new Projection([['a'], ['é', '👍']])
    const texts = [10, 5_000, 6_000, 30_000, 7]
      .flatMap((length) => ['x', 'é', '日', '👍'].map((one) => one.repeat(length)))
      .flatMap((text) => [`{"b":"${text}","a":"${text}"}`, `{"a":1,"é":{"y":"${text}","👍":"${text}"},"b":2}`])
    const keys = texts.map((json) => keyOf(projection, json))
    expect(new Set(keys).size).toBe(texts.length)
    expect(texts.map((json) => keyOf(projection, json.replace('"b"', '"c"')))).toEqual(keys)
  })

  test('what no door lets in, an end that is missing, is no reading without end', () => {
    const projection = new Projection([['a', 'b'], ['c']])
    const json = JSON.stringify({ d: [{ e: 'f\\' }], a: { b: [1, { x: 'y\\' }] }, c: -1500.5, e: 'z' }, null, 1)
    for (let end = 0; end < json.length; end++) {
      // Nothing ends in what was there before.
      projection.read('x'.repeat(5_000))
      projection.read(json.slice(0, end))
      expect(projection.key().length).toBeLessThan(json.length)
    }
  })

  test.each(['{"a":[1,"x"],"b":7}', '{"b":"y"}', `{"a":"${'long'.repeat(30)}","b":1}`, '{}', undefined])(
    'a key with any other character is not the key of %s',
    (json) => {
      const projection = new Projection([['a'], ['b']])
      const key = keyOf(projection, json)
      expect(projection.endIn(key, 0)).toBe(key.length)
      for (let i = 0; i < key.length; i++) {
        const other = key.slice(0, i) + String.fromCharCode(key.charCodeAt(i) ^ 1) + key.slice(i + 1)
        expect([i, projection.endIn(other, 0)]).toEqual([i, -1])
      }
      expect(projection.endIn(key.slice(0, -1), 0)).toBe(-1)
      expect(projection.endIn('', 0)).toBe(-1)
    },
  )

  test('hashes tell inputs apart, lengths and places too', () => {
    const projection = new Projection([['a'], ['b']])
    const texts = ['{}', '{"a":1}', '{"b":1}', '{"a":1,"b":1}', '{"a":11}', '{"a":"1"}', '{"a":12,"b":3}', '{"a":1,"b":23}']
    for (let at = 0; at < 9; at++) texts.push(`{"a":"${'x'.repeat(at)}y${'x'.repeat(8 - at)}"}`)
    const hashes = [undefined, ...texts].map((json) => hashIn(projection, json))
    expect(new Set(hashes).size).toBe(texts.length + 1)
    expect(hashOf('a')).not.toBe(hashOf('b'))
  })

  test('no input, and an empty one', () => expect(keyOf(new Projection([['a']]), undefined)).not.toBe(keyOf(new Projection([['a']]), '{}')))
})
