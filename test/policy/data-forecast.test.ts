// The forecast of a bundle's data is never less than what the data takes, and not much more.
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { forecastDataBytes } from '../../src/policy/data-forecast.ts'
import { PolicyInstance } from '../../src/policy/policy-instance.ts'
import { compilePolicyModule, type PolicyModule } from '../../src/policy/policy-module.ts'
import { builtinHost, defaultLimits, toolchain } from '../support/toolchain.ts'

let module: PolicyModule | undefined
async function load(data: string): Promise<PolicyInstance> {
  if (module === undefined) {
    const { wasm } = await toolchain.build({ files: { 'p.rego': 'package p\nx := count(data.l)' } }, ['p/x'], { skipReads: true })
    module = await compilePolicyModule(wasm)
  }
  return new PolicyInstance(module, data, await builtinHost(), defaultLimits)
}

const word = fc.oneof(
  fc.constantFrom('', 'a', 'role', 'é', '日本', '\u{1F600}', 'a"b\\c', '\n'),
  fc.nat(300).map((n) => 'x'.repeat(n)),
)
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.oneof(fc.constantFrom<unknown>(null, true, false, 0, -1, 1.5, 1e21, 123456789), word),
    fc.array(tie('value'), { maxLength: 14 }),
    fc.dictionary(word, tie('value'), { maxKeys: 14 }),
  ),
}))

test('for any data, however it is written', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(value, { maxLength: 20 }), fc.constantFrom(undefined, 1), async (l, space) => {
      const text = JSON.stringify({ l }, null, space)
      const { dataBytes } = await load(text)
      const forecast = forecastDataBytes(text)
      expect(forecast).toBeGreaterThanOrEqual(dataBytes - 64)
      // Equal texts take room once: of 18,000 random documents three took less than half of what was forecast, none less than 2 / 5.
      expect(forecast).toBeLessThan(dataBytes * 2.5 + 1_000)
    }),
    // What is nested as deep as this shrinks for minutes.
    { numRuns: 300, endOnFailure: true },
  )
})

test('a hundred thousand entries take what was forecast, in memory that is no larger than needed', async () => {
  const text = `{"l":{${Array.from({ length: 100_000 }, (_, i) => `"user${i}":["role${i % 100}","r${i % 7}"]`).join(',')}}}`
  const { dataBytes, memoryBytes } = await load(text)
  const forecast = forecastDataBytes(text)
  expect(forecast).toBeGreaterThanOrEqual(dataBytes)
  // Equal strings take room once.
  expect(forecast).toBeLessThan(dataBytes * 1.6)
  // Room for inputs comes on top.
  expect(memoryBytes).toBeLessThan(forecast + 16 * 2 ** 20)
})
