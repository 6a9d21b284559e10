// Every built-in function against OPA's evaluator, through all that a running policy has between it and the function.
// A few calls each with generated arguments; npm run differential asks thousands.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Toolchain } from '../../src/rego/toolchain.ts'
import { callable, callsOf, notCalled } from './builtins.ts'
import { Engines } from './engines.ts'
import { Tape } from './tape.ts'

const about = await (async () => {
  const toolchain = new Toolchain()
  try {
    return await toolchain.about()
  } finally {
    await toolchain.close()
  }
})()

let engines: Engines
beforeAll(() => {
  engines = new Engines()
})
afterAll(() => engines.close())

/** Numbers that look random and are the same in every run. */
function numbers(seed: number, count: number): number[] {
  let state = seed
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return (state >>> 8) % 1_000
  })
}

test.each(callable(about.declarations).map((declaration) => [declaration.name, declaration] as const))('%s', async (name, declaration) => {
  const calls = 12
  const seed = [...name].reduce((sum, char) => sum * 31 + char.charCodeAt(0), 7)
  const question = callsOf(new Tape(numbers(seed, 2_000)), declaration, calls)
  expect(await engines.differ(question, calls)).toBeUndefined()
})

/** Functions whose answer is chance, time or the world's, asked so that the answer is certain. */
const certain: Readonly<Record<string, string>> = {
  'http.send': 'http.send({"method": "get"})',
  'net.lookup_ip_addr': 'net.lookup_ip_addr("10.0.0.1")',
  'internal.template_string': '$"a{input.x}b{1 + 1}c{{1, 2}}"',
  'uuid.rfc4122': '[uuid.parse(uuid.rfc4122("a")).version, uuid.rfc4122("a") == uuid.rfc4122("a")]',
  'rand.intn': '[rand.intn("a", 1), rand.intn("a", 1000000) == rand.intn("a", 1000000)]',
  'io.jwt.encode_sign':
    'io.jwt.encode_sign({"alg": "HS256"}, {"a": 1.50}, {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"})',
  'io.jwt.encode_sign_raw':
    'io.jwt.encode_sign_raw(`{"alg":"HS256"}`, `{"a":1}`, `{"kty":"oct","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}`)',
  'opa.runtime': 'count(opa.runtime())',
  'time.now_ns': 'time.now_ns()',
  'internal.print': 'count([x | some x in [1, 2]; print(x)])',
  'internal.test_case': 'true',
  'rego.metadata.chain': 'rego.metadata.chain()',
  'rego.metadata.rule': 'rego.metadata.rule()',
}

describe('functions whose answer is chance, time or the world', () => {
  test.each([...notCalled])('%s', async (name) => {
    const rego = `package p\n\n# METADATA\n# title: a rule\nr := ${certain[name]}\n`
    const before = engines.discarded
    expect(await engines.differ({ files: { 'p.rego': rego }, data: '{}', inputs: ['{"x": [1.0]}'], entrypoint: 'p/r' })).toBeUndefined()
    expect(engines.discarded).toBe(before)
  })
})
