// Data that the host wrote is to a policy what OPA's own reader would have made of it.
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { membersOf } from '../../src/decision/json-text.ts'
import { writeData } from '../../src/policy/data-writer.ts'
import type { EvalResult } from '../../src/rego/toolchain.ts'
import { codeOf } from '../support/code-of.ts'
import { startPolicy, toolchain } from '../support/toolchain.ts'

const rego = `package p

all := data.root

keys := {k | some k, _ in data.root}

same := {k | some k, v in data.root; data.root[k] == v; data.root[_] == v}

found := {k: data.root[k] | some k in input}

sums := [y | some x in data.root.numbers; y := x + 1]

nested := {[i, x] | some i, x in data.root.numbers}
`
const entrypoints = ['p/all', 'p/keys', 'p/same', 'p/found', 'p/sums', 'p/nested']

const word = fc.oneof(
  fc.constantFrom('', 'a', 'role', 'é', '日本', '\u{1F600}', 'a"b\\c', '\n', '\u007f', '\u2028', '/'),
  fc.nat(300).map((n) => 'x'.repeat(n)),
)
/** As texts: numbers in every spelling. */
const number = fc.oneof(
  fc.constantFrom('0', '-0', '1', '-1', '4095', '4096', '2147483647', '2147483648', '-2147483649', '4294967296', '999999999999999'),
  fc.constantFrom('-999999999999999', '1000000000000000', '9007199254740993', '12345678901234567890', '1.0', '-1.50', '1e3', '2E-2'),
  fc.integer().map(String),
)
const { value } = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.oneof(
      fc.constantFrom('null', 'true', 'false', '[]', '{}', '[ ]'),
      number,
      word.map((one) => JSON.stringify(one)),
    ),
    fc.array(tie('value'), { maxLength: 14 }).map((elements) => `[${elements.join(', ')}]`),
    fc
      .uniqueArray(fc.tuple(word, tie('value')), { maxLength: 14, selector: ([key]) => key })
      .map((members) => `{${members.map(([key, one]) => `${JSON.stringify(key)} :\n${one}`).join(',')}}`),
  ),
}))
const odd = fc.constantFrom('"\\u0061"', '"\\u00e9"', '"\\ud83d\\ude00"', '"\\/"', '"\\t"')

test('is the same to a policy as to OPA', async () => {
  const texts = fc.sample(fc.tuple(fc.array(number, { maxLength: 20 }), odd, value, fc.array(fc.tuple(word, value), { maxLength: 30 })), {
    numRuns: 60,
    seed: 5,
  })
  for (const [numbers, strange, one, more] of texts) {
    const members = new Map([...more, ['numbers', `[${numbers.join(',')}]`], ['one', one], ['strange', strange]] as [string, string][])
    const root = [...members].map(([key, text]) => `${JSON.stringify(key)}:${text}`).join(',')
    const data = `{"root":{${root}}}`
    const input = JSON.stringify([...membersOf(`{${root}}`).keys(), 'absent'])
    const { evaluate } = await startPolicy(rego, entrypoints, { data })
    for (const entrypoint of entrypoints) {
      const [opa] = await toolchain.evalAll({ files: { 'p.rego': rego }, data, entrypoint, timeNs: 0n }, [input])
      expect(parsed(evaluate(entrypoint, input))).toEqual(parsed((opa as EvalResult).result))
    }
  }
}, 120_000)

/** With numbers as they are spelled. */
function parsed(json: string | undefined): unknown {
  return JSON.parse(json ?? 'null', (_key, one: unknown, context?: { source?: string }) =>
    typeof one === 'number' ? `number ${context?.source}` : one,
  )
}

const write = (json: string, pages = 16) => writeData(new WebAssembly.Memory({ initial: pages }), 8, json)

test('equal strings and small numbers take room once', () => {
  const list = (element: string, count: number) => write(`[${Array(count).fill(element).join(',')}]`).end
  for (const element of ['"a string of some length"', '7', 'true', '"\\u00e9"']) {
    // An element of the array, and the number of its index.
    expect(list(element, 1_000) - list(element, 500)).toBe(500 * (8 + 16))
  }
})

test.each([
  ['a key twice', '{"a":{"b":1,"c":2,"b":3}}'],
  ['a key twice in two spellings', '{"a":1,"\\u0061":2}'],
  ...['', '{', '{"a"', '{"a":', '{"a":1', '{"a":1,}', '[1,]', '[1 2]', '{a:1}', 'nul', '"a', '"\\x"', '-', '{"a":1}}', '[}'].map(
    (text) => [`\`${text}\``, text] as const,
  ),
])('%s is refused', (_what, text) => expect(codeOf(() => write(text))).toBe('ERR_BUNDLE_DATA'))

test('what does not fit is refused', () => {
  expect(codeOf(() => write(JSON.stringify(Array.from({ length: 9_000 }, (_, i) => `string ${i}`)), 1))).toBe('ERR_MEMORY_EXHAUSTED')
})
