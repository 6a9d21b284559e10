import { expect, test } from '@jest/globals'
import { compilePolicyModule } from '../../src/policy/policy-module.ts'

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
