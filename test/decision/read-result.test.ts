import { expect, test } from '@jest/globals'
import { readResult } from '../../src/decision/read-result.ts'

test.each([
  ['true', true],
  ['{"allow":true}', true],
  ['{"decision":true}', true],
  ['{"decision":true,"allow":true}', true],
  ['false', false],
  ['{"allow":false}', false],
  ['null', false],
  ['1', false],
  ['"true"', false],
  ['[true]', false],
  ['{}', false],
  ['{"allow":1}', false],
  ['{"allow":"true"}', false],
  ['{"allow":[true]}', false],
  ['{"allow":null}', false],
  ['{"decision":true,"allow":false}', false],
  ['{"decision":false,"allow":true}', false],
  ['{"nested":{"allow":true}}', false],
  [undefined, false],
])('%s allows: %s', (result, allowed) => expect(readResult(result).allowed).toBe(allowed))

test('says why a result is no decision', () => {
  expect(readResult(undefined).reasons).toBe('["undefined_decision"]')
  expect(readResult('1').reasons).toBe('["not_a_boolean_decision"]')
  expect(readResult('{"decision":true,"allow":false}').reasons).toBe('["contradictory_decision"]')
  expect(readResult('false').reasons).toBeUndefined()
})

test('hands on what the policy said, digit by digit', () => {
  expect(readResult('{"allow":true,"reasons":[1.0],"obligations":{"n":12345678901234567890},"context":{"a":-0}}')).toEqual({
    allowed: true,
    reasons: '[1.0]',
    obligations: '{"n":12345678901234567890}',
    context: '{"a":-0}',
    maxAgeMs: undefined,
  })
})

test.each([
  ['{"max_age_ms":5000}', 5_000],
  ['{"max_age_ms":-1}', 0],
  ['{"max_age_ms":1.5}', 0],
  ['{"max_age_ms":"5000"}', 0],
  ['{"max_age_ms":1e400}', 0],
  ['{"max_age_ms":99999999999}', 86_400_000],
  ['7', 0],
])('cache %s lives for %d ms', (cache, ms) => expect(readResult(`{"allow":true,"cache":${cache}}`).maxAgeMs).toBe(ms))
