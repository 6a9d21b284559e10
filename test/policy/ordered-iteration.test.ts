// The order of objects and sets in results, and of array comprehensions over them, against OPA itself.
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { EvalResult } from '../../src/rego/toolchain.ts'
import { startPolicy, toolchain } from '../support/toolchain.ts'

const rego = `package p

objects := {k: v | some [k, v] in input}

sets := {k | some [k, _] in input}

walked := [[k, v] | some k, v in objects]
`
const entrypoints = ['p/objects', 'p/sets', 'p/walked']
const text = fc.constantFrom('', 'a', 'b', 'ab', 'B', 'é', '日', '\u{1F600}', '\uffff', 'a b', '10', '9', '"', '\\', '<')
const key = fc.oneof(
  { weight: 6, arbitrary: text },
  fc.constantFrom<unknown>(null, true, false, 9, 10, -1, 1.5, [], ['a'], [2], { a: 1 }, {}),
)

test('is that of OPA for collections of every size and kind', async () => {
  const { instance } = await startPolicy(rego, entrypoints)
  const pairs = fc.oneof(fc.array(fc.tuple(text, fc.nat(3)), { maxLength: 20 }), fc.array(fc.tuple(key, fc.nat(3)), { maxLength: 12 }))
  // An object has one value for each key.
  const inputs = fc.sample(pairs, { numRuns: 300, seed: 7 }).map((list) => {
    const seen = new Set<string>()
    return JSON.stringify(list.filter(([k]) => !seen.has(JSON.stringify(k)) && seen.add(JSON.stringify(k))))
  })
  for (const entrypoint of entrypoints) {
    const opa = await toolchain.evalAll({ files: { 'p.rego': rego }, data: '{}', entrypoint, timeNs: 0n }, inputs)
    const ours = inputs.map((input) => instance.evaluate(instance.entrypoints.get(entrypoint) as number, input, 0).result)
    // Go's writer escapes more than the policy's.
    expect(ours).toEqual(opa.map((answer) => (answer as EvalResult).result?.replaceAll('\\u003c', '<')))
  }
})
