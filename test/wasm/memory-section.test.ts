import { expect, test } from '@jest/globals'
import { readDataEnd, readMemoryImport, withMemoryMaximum } from '../../src/wasm/memory-section.ts'

/** (module (memory (export "m") 1) (data (i32.const 300) "abc")) */
const module = Uint8Array.from([
  ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
  ...[0x05, 0x03, 0x01, 0x00, 0x01],
  ...[0x07, 0x05, 0x01, 0x01, 0x6d, 0x02, 0x00],
  ...[0x0b, 0x0a, 0x01, 0x00, 0x41, 0xac, 0x02, 0x0b, 0x03, 0x61, 0x62, 0x63],
])

function memoryOf(wasm: Uint8Array): WebAssembly.Memory {
  return new WebAssembly.Instance(new WebAssembly.Module(wasm as Uint8Array<ArrayBuffer>)).exports['m'] as WebAssembly.Memory
}

test('a memory with a maximum grows so far and no further', () => {
  memoryOf(module).grow(10)
  const bounded = memoryOf(withMemoryMaximum(module, 3))
  bounded.grow(2)
  expect(() => bounded.grow(1)).toThrow(RangeError)
})

test('the end of the data is that of its last segment', () => {
  expect(readDataEnd(module)).toBe(303)
  expect(readMemoryImport(module)).toBeUndefined()
  expect(readDataEnd(module.subarray(0, 8))).toBe(0)
})
