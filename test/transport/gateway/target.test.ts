// The path of a gateway's request has one reading, or none.
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { parseQuery, parseTarget } from '../../../src/transport/gateway/target.ts'
import { codeOf } from '../../support/code-of.ts'

describe('refused', () => {
  test.each([
    '',
    '*',
    'docs',
    'http://a/docs',
    '//docs',
    '/a//b',
    '/a/../b',
    '/a/..',
    '/./a',
    '/a/.',
    '/%2e%2e/admin',
    '/%2E/admin',
    '/a%2fb',
    '/a%2Fb',
    '/a%5cb',
    '/a\\b',
    '/a;x/b',
    '/a%3bx',
    '/a%00',
    '/a%0d%0ab',
    '/a%7f',
    '/a b',
    '/a\tb',
    '/é',
    '/a#b',
    '/a%23b',
    '/a%3fb',
    '/%61dmin',
    '/%41',
    '/%7Eme',
    '/a%2Db',
    '/%30',
    '/%c0%ae%c0%ae/a',
    '/%ff',
    '/a%',
    '/a%2',
    '/%zz',
    '/%252e%252e/a',
    '/%25',
    '/a%c2%85',
    `/${'a'.repeat(8_192)}`,
    '/a?x=%',
    '/a?x=%ff',
    '/a?x=%00',
    '/a?a;b',
    '/a?é',
    '/a?b c',
    '/a?b#c',
  ])('%j', (target) => expect(codeOf(() => parseTarget(target))).toBe('ERR_AMBIGUOUS_PATH'))
})

test.each([
  ['/', '/', [''], {}],
  ['/docs/1', '/docs/1', ['docs', '1'], {}],
  ['/docs/', '/docs/', ['docs', ''], {}],
  ['/a%20b/%C3%A9', '/a b/é', ['a b', 'é'], {}],
  ['/..a/.b/c..', '/..a/.b/c..', ['..a', '.b', 'c..'], {}],
  ['/a?x=1&y&x=2&&z=%26+%2B', '/a', ['a'], { x: ['1', '2'], y: [''], z: ['& +'] }],
  ['/a?u=http://b//c/../d', '/a', ['a'], { u: ['http://b//c/../d'] }],
  ['/a?__proto__=1', '/a', ['a'], { ['__proto__']: ['1'] }],
])('%s is read', (target, path, segments, params) => {
  const parsed = parseTarget(target)
  expect([parsed.uri, parsed.path, parsed.segments]).toEqual([target, path, segments])
  expect([...parsed.params]).toEqual(Object.entries(params))
})

test('a path that is taken is its own normal form: decoding twice, or once by the rules of URLs, changes nothing', () => {
  const part = fc.oneof(
    fc.string({ maxLength: 8 }),
    fc.constantFrom('.', '..', '%2e', '%2F', '%61', '%20', '%c3%a9', ';', '\\', '//', '?', '#'),
  )
  fc.assert(
    fc.property(fc.array(part, { maxLength: 5 }), (parts) => {
      const target = `/${parts.join('/')}`
      let path: string
      try {
        path = parseTarget(target).path
      } catch {
        return
      }
      const raw = target.split('?')[0] as string
      expect(new URL(target, 'http://host').pathname).toBe(raw)
      expect(decodeURIComponent(path)).toBe(path)
      expect(path.split('/').length).toBe(raw.split('/').length)
    }),
    { numRuns: 20_000 },
  )
})

test('a query comes apart as browsers put it together', () => {
  const word = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 6 })
  fc.assert(
    fc.property(fc.array(fc.tuple(word, word), { maxLength: 5 }), (pairs) => {
      const parsed = parseQuery(new URLSearchParams(pairs).toString())
      expect([...parsed].flatMap(([name, values]) => values.map((value) => [name, value])).sort()).toEqual([...pairs].sort())
    }),
  )
})
