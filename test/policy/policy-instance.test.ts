import { describe, expect, test } from '@jest/globals'
import { codeOf } from '../support/code-of.ts'
import { startPolicy, toolchain } from '../support/toolchain.ts'

const rego = `package p

echo := input

same if input.a == input.b

slow if {
	some i, j, k
	input.a[i] + input.b[j] == input.c[k] + 0.5
}

hungry := count([x | some i in numbers.range(1, 100000); x := [i, i, i, input.pad]])

f1(x) := f2(x) + f2(x + 1)

f2(x) := f3(x) + f3(x + 1)

f3(x) := f4(x) + f4(x + 1)

f4(x) := f5(x) + f5(x + 1)

f5(x) := f6(x) + f6(x + 1)

f6(x) := f7(x) + f7(x + 1)

f7(x) := x + 1

calls := f1(input)

divided := 8 % input

failing := units.parse(input)

clock := [time.now_ns(), time.now_ns() == time.now_ns(), rand.intn("x", 1000000) == rand.intn("x", 1000000)]
`
const entrypoints = ['echo', 'same', 'slow', 'hungry', 'calls', 'divided', 'failing', 'clock'].map((name) => `p/${name}`)
const started = startPolicy(rego, entrypoints)
const numbers = JSON.stringify(Array.from({ length: 2_000 }, (_, i) => i))
const endless = `{"a":${numbers},"b":${numbers},"c":${numbers}}`
const deep = `${'['.repeat(50_000)}${']'.repeat(50_000)}`

describe('values', () => {
  test.each(['12345678901234567890', '1e400', '-0', '1.0', '0.1', '1E5', '123456789.123456789123456789'])(
    'the number %s comes out as it went in, and as OPA says it',
    async (number) => {
      const { evaluate } = await started
      const oracle = await toolchain.eval({ files: { 'policy.rego': rego }, entrypoint: 'p/echo', input: `{"n":${number}}` })
      expect(evaluate('p/echo', `{"n":${number}}`)).toBe(`{"n":${number}}`)
      expect(oracle.result).toBe(`{"n":${number}}`)
    },
  )

  test.each(['false', 'null', '0', '""', '[]', '{}'])('the input %s is an input', async (input) => {
    const { evaluate } = await started
    expect(evaluate('p/echo', input)).toBe(input)
  })

  test('no input is undefined', async () => expect((await started).evaluate('p/echo', undefined)).toBeUndefined())

  test('numbers beyond 2^53 are told apart', async () => {
    const { evaluate } = await started
    expect(evaluate('p/same', '{"a":9007199254740992,"b":9007199254740993}')).toBeUndefined()
    expect(evaluate('p/same', '{"a":9007199254740993,"b":9007199254740993}')).toBe('true')
  })

  test('text outside of ASCII survives', async () => {
    const { evaluate } = await started
    expect(JSON.parse(evaluate('p/echo', '"é😀\\u0001\\u2028\\uffff"') as string)).toBe('é😀\u0001\u2028\uffff')
  })

  test('an input larger than the memory so far is read whole, and the next one too', async () => {
    const { evaluate, instance } = await startPolicy(rego, entrypoints)
    const large = JSON.stringify('x'.repeat(1_000_000))
    for (let i = 0; i < 20; i++) expect(evaluate('p/echo', large)?.length).toBe(large.length)
    expect(instance.memoryBytes).toBeLessThan(64 * 2 ** 20)
    expect(evaluate('p/same', '{"a":1,"b":1}')).toBe('true')
  })
})

describe('built-in functions', () => {
  test('one instant and one random number for all calls of an evaluation', async () => {
    expect((await started).evaluate('p/clock')).toBe('[1772618400000000000,true,true]')
  })

  test('an error makes the expression undefined, or ends the evaluation when errors are strict', async () => {
    const { instance, evaluate } = await started
    expect(evaluate('p/failing', '"10K"')).toBe('10000')
    expect(evaluate('p/failing', '"nonsense"')).toBeUndefined()
    const id = instance.entrypoints.get('p/failing') as number
    expect(codeOf(() => instance.evaluate(id, '"nonsense"', 1, true))).toBe('ERR_BUILTIN_FAILED')
    const divided = instance.entrypoints.get('p/divided') as number
    for (let i = 0; i < 2; i++) {
      expect(codeOf(() => instance.evaluate(divided, '0', 1, true))).toBe('ERR_BUILTIN_FAILED')
      expect(instance.evaluate(divided, '3', 1, true).result).toBe('2')
    }
    expect(instance.evaluate(divided, '0', 1).result).toBeUndefined()
  })
})

describe('bounds', () => {
  const traps: [string, string, string, string][] = [
    ['a loop without end', 'p/slow', endless, 'ERR_STEPS_EXHAUSTED'],
    ['a hunger for memory', 'p/hungry', `{"pad":1}`, 'ERR_MEMORY_EXHAUSTED'],
    ['an input nested too deeply', 'p/echo', deep, 'ERR_STACK_EXHAUSTED'],
    ['a built-in that fails', 'p/failing', '[1]', 'ERR_BUILTIN_FAILED'],
  ]

  test.each(traps.slice(0, 3))('%s ends with its code, and the next evaluation is right', async (_what, entrypoint, input, code) => {
    const maxMemoryBytes = (code === 'ERR_MEMORY_EXHAUSTED' ? 4 : 64) * 2 ** 20
    const { evaluate, instance } = await startPolicy(rego, entrypoints, { limits: { maxSteps: 5_000_000, maxMemoryBytes } })
    for (let i = 0; i < 20; i++) {
      expect(codeOf(() => evaluate(entrypoint, input))).toBe(code)
      expect(evaluate('p/same', '{"a":[1,{"x":2}],"b":[1,{"x":2}]}')).toBe('true')
      expect(evaluate('p/calls', '1')).toBe('320')
    }
    expect(instance.memoryBytes).toBeLessThanOrEqual(maxMemoryBytes + 2 ** 20)
  })

  test('memory is as large after a hundred exhausted evaluations as after one', async () => {
    const { evaluate, instance } = await startPolicy(rego, entrypoints, { limits: { maxSteps: 50_000, maxMemoryBytes: 64 * 2 ** 20 } })
    codeOf(() => evaluate('p/slow', endless))
    const after = instance.memoryBytes
    for (let i = 0; i < 100; i++) expect(codeOf(() => evaluate('p/slow', endless))).toBe('ERR_STEPS_EXHAUSTED')
    expect(instance.memoryBytes).toBe(after)
  })

  test('calls count as steps where there is no loop', async () => {
    const { instance } = await started
    const id = instance.entrypoints.get('p/calls') as number
    expect(instance.evaluate(id, '1', 1).steps).toBeGreaterThan(127)
  })

  test('the same question takes the same steps on every instance', async () => {
    const one = (await started).instance
    const two = (await startPolicy(rego, entrypoints)).instance
    const id = one.entrypoints.get('p/calls') as number
    const first = one.evaluate(id, '7', 1).steps
    one.evaluate(id, '8', 1)
    expect(one.evaluate(id, '7', 2).steps).toBe(first)
    expect(two.evaluate(two.entrypoints.get('p/calls') as number, '7', 3).steps).toBe(first)
  })
})
