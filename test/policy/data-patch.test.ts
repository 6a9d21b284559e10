// Data changed in place: what a policy sees afterwards is what it would see of the data loaded anew, and memory stays.
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { startPolicy } from '../support/toolchain.ts'

const rego = `package p
all := {key: value | some key, value in data.root}
one := data.root[input.key]
endless := count([1 | some i, j, k; data.numbers[i] + data.numbers[j] == data.numbers[k] + 0.5])
`
type Json = Record<string, unknown>

/** The same change to a plain object. */
function change(root: Json, path: readonly string[], value: unknown): boolean {
  let at = root
  for (const key of path.slice(0, -1)) {
    if (!Object.hasOwn(at, key)) {
      if (value === undefined) return true
      at[key] = {}
    }
    const next = at[key]
    if (typeof next !== 'object' || next === null || Array.isArray(next)) return false
    at = next as Json
  }
  const last = path.at(-1) as string
  if (value === undefined) delete at[last]
  else at[last] = value
  return true
}

const word = fc.constantFrom('a', 'b', 'c', 'é', '', 'a longer key than the others are')
const value = fc.oneof(
  fc.constantFrom<unknown>(1, 'x', true, null, [], {}, [1, { a: 'b' }], { a: { b: 1 } }),
  fc.nat(400).map((n) => 'y'.repeat(n)),
  fc.nat(40).map((n) => Array.from({ length: n }, (_, i) => i)),
)

describe('a change of data', () => {
  test('is seen as if the data had been loaded with it', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.array(word, { minLength: 1, maxLength: 3 }), fc.option(value, { nil: undefined, freq: 4 })), {
          maxLength: 60,
        }),
        async (changes) => {
          const root: Json = { a: { b: 1 }, c: [1, 2] }
          const { instance, evaluate } = await startPolicy(rego, ['p/all'], { data: JSON.stringify({ root }) })
          for (const [path, to] of changes) {
            const asked = () => instance.patchData(['root', ...path], to === undefined ? undefined : JSON.stringify(to))
            if (change(root, path, structuredClone(to))) asked()
            else if (to !== undefined) expect(asked).toThrow(expect.objectContaining({ code: 'ERR_BUNDLE_DATA' }))
            expect(JSON.parse(evaluate('p/all', '{}') as string)).toEqual(root)
          }
        },
      ),
      { numRuns: 60 },
    )
  })

  test('takes no more memory after 50,000 of them', async () => {
    const root = Object.fromEntries(Array.from({ length: 2_000 }, (_, i) => [`user${i}`, ['viewer']]))
    const { instance, evaluate } = await startPolicy(rego, ['p/one'], { data: JSON.stringify({ root }) })
    const round = (from: number) => {
      for (let i = from; i < from + 25_000; i++) {
        const key = `user${i % 500}`
        instance.patchData(['root', key], i % 7 === 0 ? undefined : JSON.stringify([i % 2 ? 'admin' : 'viewer', `r${i % 10}`]))
        if (i % 100 === 0) evaluate('p/one', JSON.stringify({ key }))
      }
    }
    round(0)
    const [bytes, memory] = [instance.dataBytes, instance.memoryBytes]
    round(25_000)
    expect(instance.dataBytes).toBeLessThanOrEqual(bytes + 1_000)
    expect(instance.memoryBytes).toBe(memory)
    expect(evaluate('p/one', '{"key": "user1999"}')).toBe('["viewer"]')
    instance.patchData(['root', 'user3'], '["last"]')
    expect(evaluate('p/one', '{"key": "user3"}')).toBe('["last"]')
  })

  test('outlives a trap of the evaluation after it', async () => {
    const data = JSON.stringify({ root: { a: 1 }, numbers: Array.from({ length: 2_000 }, (_, i) => i) })
    const { instance, evaluate } = await startPolicy(rego, ['p/one', 'p/endless'], { data })
    for (const text of ['{"x": [1, 2, 3]}', '"second"', '{"third": null}']) {
      instance.patchData(['root', 'a'], text)
      expect(() => evaluate('p/endless', '{}')).toThrow(expect.objectContaining({ code: 'ERR_STEPS_EXHAUSTED' }))
      expect(JSON.parse(evaluate('p/one', '{"key": "a"}') as string)).toEqual(JSON.parse(text))
    }
  })

  test('that does not fit is refused and changes nothing', async () => {
    const { instance, evaluate } = await startPolicy(rego, ['p/one'], {
      data: '{"root": {"a": 1}}',
      limits: { maxSteps: 1e7, maxMemoryBytes: 2 ** 20 },
    })
    const large = JSON.stringify(Array.from({ length: 200_000 }, (_, i) => i))
    expect(() => instance.patchData(['root', 'a'], large)).toThrow(expect.objectContaining({ code: 'ERR_MEMORY_EXHAUSTED' }))
    expect(evaluate('p/one', '{"key": "a"}')).toBe('1')
    instance.patchData(['root', 'a'], '2')
    expect(evaluate('p/one', '{"key": "a"}')).toBe('2')
    expect(() => instance.patchData([], '{}')).toThrow(expect.objectContaining({ code: 'ERR_BUNDLE_DATA' }))
  })
})
