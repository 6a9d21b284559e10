import { expect, test } from '@jest/globals'
import { PolicyInstance } from '../../src/policy/policy-instance.ts'
import { compilePolicyModule } from '../../src/policy/policy-module.ts'
import { builtinHost, defaultLimits, toolchain } from '../support/toolchain.ts'

const empty = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]

test.each([
  ['no WebAssembly', [1, 2, 3], 'not a valid WebAssembly module'],
  ['an empty module', empty, 'does not export'],
  ['a foreign import', [...empty, 1, 4, 1, 0x60, 0, 0, 2, 7, 1, 1, 0x61, 1, 0x62, 0, 0], 'imports `a.b`'],
  ['a truncated module', [...empty, 1, 4, 1], 'not a valid WebAssembly module'],
])('refuses %s', async (_what, bytes, message) => {
  await expect(compilePolicyModule(Uint8Array.from(bytes))).rejects.toMatchObject({
    code: 'ERR_POLICY_INVALID',
    message: expect.stringContaining(message),
  })
})

test('a module that asks for less memory than its constants take gets what they take', async () => {
  const long = 'x'.repeat(300_000)
  const { wasm } = await toolchain.build({ files: { 'p.rego': `package p\nlong := "${long}"` } }, ['p/long'], { skipReads: true })
  const name = Buffer.from(wasm).indexOf('memory')
  // The kind of the import, its flags, and how many pages it wants.
  expect([...wasm.subarray(name + 6, name + 9)]).toEqual([2, 0, 7])
  wasm[name + 8] = 2
  const instance = new PolicyInstance(await compilePolicyModule(wasm), '{}', await builtinHost(), defaultLimits)
  expect(instance.evaluate(instance.entrypoints.get('p/long') as number, '{}', 0).result).toBe(`"${long}"`)
})
