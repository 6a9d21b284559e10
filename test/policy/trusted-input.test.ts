import { describe, expect, test } from '@jest/globals'
import type { DecisionRequest } from '../../src/decision/request.ts'
import { trustedFacts, withTrusted } from '../../src/policy/trusted-input.ts'

describe('withTrusted', () => {
  test.each([
    ['{"a":1.0}', '{"trusted":{"t":1},"a":1.0}'],
    ['{}', '{"trusted":{"t":1}}'],
    ['{"trusted":{"t":2},"a":1.0}', '{"trusted":{"t":1},"a":1.0}'],
    ['{"tr\\u0075sted":{"t":2},"a":-0}', '{"trusted":{"t":1},"a":-0}'],
    ['{"a":{"trusted":"mine"}}', '{"trusted":{"t":1},"a":{"trusted":"mine"}}'],
    ['[1]', '[1]'],
    ['null', 'null'],
    ['false', 'false'],
  ])('%s becomes %s', (input, expected) => expect(withTrusted(input, 'trusted', '{"t":1}')).toBe(expected))

  test.each([
    ['{"a":1.0}', '{"a":1.0}'],
    ['{"trusted":{"t":2},"a":1.0}', '{"a":1.0}'],
    ['{"tr\\u0075sted":{"t":2}}', '{}'],
    ['[1]', '[1]'],
  ])('where the policy does not read the facts, %s becomes %s', (input, expected) =>
    expect(withTrusted(input, 'trusted', undefined)).toBe(expected),
  )

  test('no input stays none', () => expect(withTrusted(undefined, 'trusted', '{}')).toBeUndefined())
})

test('the facts name the caller, and the time only where it is read', () => {
  const request = { timeMs: 5, caller: { authenticated: true, id: 'spiffe://td/a', address: '10.0.0.1' } } as DecisionRequest
  expect(JSON.parse(trustedFacts(request, true))).toEqual({
    caller: { authenticated: true, id: 'spiffe://td/a', spiffe_id: 'spiffe://td/a', address: '10.0.0.1' },
    time: 5_000_000,
  })
  expect(trustedFacts({ ...request, caller: { authenticated: false } }, false)).toBe('{"caller":{"authenticated":false}}')
})
