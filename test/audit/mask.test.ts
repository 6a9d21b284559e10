// What a mask reaches, whatever way it is written, and what it leaves as it is.
import { describe, expect, test } from '@jest/globals'
import { maskJson, readyRule, rulesThatMayLead, toNull, withTwins } from '../../src/audit/mask.ts'

const masked = (json: string, ...pointers: string[]) => {
  const rules = pointers.map((pointer) => readyRule({ pointer, replace: toNull }))
  return maskJson(json, rulesThatMayLead(json, rules))
}

describe('a mask', () => {
  test.each<[string, string, string, string]>([
    ['a member', '{"a":{"b":1},"c":2}', '/a/b', '{"a":{"b":null},"c":2}'],
    ['a member with members', '{"a":{"b":[1,{"c":2}]}}', '/a', '{"a":null}'],
    ['a name that is written with escapes', '{"a":{"\\u0062":"secret"}}', '/a/b', '{"a":{"b":null}}'],
    ['a name with a slash and a tilde', '{"a/b~":1}', '/a~1b~0', '{"a/b~":null}'],
    ['a name with a quote', '{"a\\"b":1}', '/a"b', '{"a\\"b":null}'],
    ['an element', '{"a":[1,2,3]}', '/a/1', '{"a":[1,null,3]}'],
    ['every element', '{"a":[1,[2],{"b":3}]}', '/a/*', '{"a":[null,null,null]}'],
    ['every member', '{"a":{"x":{"id":1},"y":{"id":2},"z":3}}', '/a/*/id', '{"a":{"x":{"id":null},"y":{"id":null},"z":3}}'],
    ['elements of a list without a name', '[1,[2,3]]', '/1/*', '[1,[null,null]]'],
    ['the empty name', '{"":1,"a":2}', '/', '{"":null,"a":2}'],
    ['a name that every object has', '{"a":{"__proto__":{"b":1},"toString":2}}', '/a/__proto__', '{"a":{"__proto__":null,"toString":2}}'],
    [
      'beside numbers, which keep their digits',
      '{"n":1.0,"big":12345678901234567890.50,"e":1E3,"x":1}',
      '/x',
      '{"n":1.0,"big":12345678901234567890.50,"e":1E3,"x":null}',
    ],
  ])('replaces %s', (_what, json, pointer, wanted) => expect(masked(json, pointer)).toEqual({ json: wanted, applied: [pointer] }))

  test.each<[string, string, string]>([
    ['a name that is elsewhere', '{"a":{"b":1}}', '/b'],
    ['a name that is a value', '{"a":"b"}', '/b'],
    ['below a value', '{"a":1,"b":2}', '/a/b'],
    ['below null', '{"a":null,"b":2}', '/a/b'],
    ['behind the end of a list', '{"a":[1]}', '/a/1'],
    ['the length of a list', '{"a":[1],"length":1}', '/a/length'],
    ['what objects have from elsewhere', '{"a":"__proto__","b":{"x":1}}', '/__proto__/x'],
    ['all of it', '{"a":1}', ''],
  ])('leaves %s alone, every character of it', (_what, json, pointer) => {
    expect(masked(json, pointer)).toEqual({ json, applied: [] })
    expect(Object.hasOwn(Object.prototype, 'x')).toBe(false)
  })

  test('tells which of several led to something', () =>
    expect(masked('{"a":1,"b":{"c":2}}', '/b/c', '/x', '/a/c', '/a')).toEqual({
      json: '{"a":null,"b":{"c":null}}',
      applied: ['/b/c', '/a'],
    }))
})

test.each([
  ['/subject/id', ['/subject/id', '/input/subject/id']],
  ['/input/action', ['/action', '/input/action']],
  ['/input/context/subject', ['/input/context/subject']],
  ['/subjects', ['/subjects']],
])('%s stands for %j', (pointer, wanted) => expect(withTwins(pointer)).toEqual(wanted))
