import { describe, expect, test } from '@jest/globals'
import { meter } from '../../src/wasm/meter.ts'
import { stepsLeft, takeSnapshot } from '../../src/wasm/snapshot.ts'

const header = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]
const section = (id: number, content: number[]) => [id, content.length, ...content]
const body = (code: number[]) => [code.length + 2, 0, ...code, 0x0b]

/** Functions without a loop: the first does nothing, and each further one calls the one before it twice. */
function doubling(depth: number): Uint8Array<ArrayBuffer> {
  const functions = [body([]), ...Array.from({ length: depth }, (_, i) => body([0x10, i, 0x10, i]))]
  return Uint8Array.from([
    ...header,
    ...section(1, [1, 0x60, 0, 0]),
    ...section(3, [depth + 1, ...Array(depth + 1).fill(0)]),
    ...section(7, [1, 1, 0x66, 0, depth]),
    ...section(10, [depth + 1, ...functions.flat()]),
  ])
}

/** A loop that ends after as many turns as its argument says. */
const looping = Uint8Array.from([
  ...header,
  ...section(1, [1, 0x60, 1, 0x7f, 0]),
  ...section(3, [1, 0]),
  ...section(6, [1, 0x7f, 1, 0x41, 7, 0x0b]),
  ...section(7, [1, 1, 0x66, 0, 0]),
  // loop; local.get 0; i32.const 1; i32.sub; local.tee 0; global.set 0; local.get 0; br_if 0; end
  ...section(10, [1, ...body([0x03, 0x40, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x24, 0, 0x20, 0, 0x0d, 0, 0x0b])]),
])

function start(wasm: Uint8Array<ArrayBuffer>, counter: 'i32' | 'i64' = 'i32') {
  const metered = meter(wasm, { counter }) as Uint8Array<ArrayBuffer>
  expect(WebAssembly.validate(metered)).toBe(true)
  const instance = new WebAssembly.Instance(new WebAssembly.Module(metered))
  return { instance, run: instance.exports.f as (n?: number) => void, steps: stepsLeft(instance) }
}

describe('steps', () => {
  test('are counted for calls where there is no loop', () => {
    const { run, steps } = start(doubling(10))
    steps.value = 10_000
    run()
    expect(10_000 - steps.value).toBe(2 ** 10 - 1)
  })

  test('end a chain of calls', () => {
    const { run, steps } = start(doubling(15))
    steps.value = 1_000
    expect(() => run()).toThrow(/unreachable/)
    expect(steps.value).toBe(0)
  })

  test.each(['i32', 'i64'] as const)('are counted for turns of a loop, as %s', (counter) => {
    const { run, steps } = start(looping, counter)
    const large = counter === 'i32' ? 1_000 : 1_000n
    steps.value = large
    run(250)
    expect(Number(large) - Number(steps.value)).toBe(250)
    expect(() => run(0)).toThrow(/unreachable/)
  })

  test('are enough for start-up when nobody sets them', () => {
    expect(start(looping).steps.value).toBe(2 ** 31 - 1)
    expect(start(looping, 'i64').steps.value).toBe(2n ** 63n - 1n)
  })
})

test('a snapshot puts mutable globals back', () => {
  const { instance, run, steps } = start(looping)
  const memory = new WebAssembly.Memory({ initial: 1 })
  new Uint8Array(memory.buffer)[5] = 42
  const global = instance.exports.verdict_global_0 as WebAssembly.Global
  const snapshot = takeSnapshot(instance, memory)
  steps.value = 3
  expect(() => run(100)).toThrow(/unreachable/)
  expect(global.value).toBe(97)
  memory.grow(1)
  new Uint8Array(memory.buffer).fill(9)
  snapshot.restore()
  expect(global.value).toBe(7)
  const bytes = new Uint8Array(memory.buffer)
  expect([bytes[5], bytes[6], bytes[65_536], bytes[131_071]]).toEqual([42, 0, 0, 0])
})
