// One case in a process of its own: evaluation-child.ts SECONDS < case as JSON. Prints {ns, loadMs, memoryBytes}.
// The time of an evaluation counts from the text of the input to the text of the result.
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { PolicyInstance } from '../../src/policy/policy-instance.ts'
import { compilePolicyModule } from '../../src/policy/policy-module.ts'
import { createReactorHost } from '../../src/rego/reactor-host.ts'
import { Toolchain } from '../../src/rego/toolchain.ts'

const { wasm, data, input, entrypoint } = JSON.parse(readFileSync(0, 'utf8')) as Record<'wasm' | 'data' | 'input' | 'entrypoint', string>
const seconds = Number(process.argv[2] ?? 2)
const toolchain = new Toolchain()
const host = await createReactorHost(toolchain, '{}')
const module = await compilePolicyModule(Buffer.from(wasm, 'base64'))
// The first instance of a process starts what all share, some of it beside this thread: that is no part of loading data.
new PolicyInstance(module, '{}', host, { maxSteps: 1_000_000_000, maxMemoryBytes: 64 * 2 ** 20 })
await sleep(2_000)
let began = performance.now()
const policy = new PolicyInstance(module, data, host, { maxSteps: 1_000_000_000, maxMemoryBytes: 64 * 2 ** 20 })
const loadMs = performance.now() - began
const id = policy.entrypoints.get(entrypoint) as number
const { result } = policy.evaluate(id, input, Date.now())
const run = (count: number) => {
  for (let i = 0; i < count; i++) policy.evaluate(id, input, Date.now())
}
let count = 10
for (let spent = 0; spent < 1_000; count *= 2) {
  began = performance.now()
  run(count)
  spent += performance.now() - began
}
const rounds: number[] = []
for (let until = performance.now() + seconds * 1_000; performance.now() < until || rounds.length < 3; ) {
  const some = Math.max(1, count >> 4)
  began = performance.now()
  run(some)
  rounds.push(((performance.now() - began) / some) * 1e6)
}
rounds.sort((a, b) => a - b)
const ns = rounds[rounds.length >> 1] as number
console.log(JSON.stringify({ ns, loadMs, memoryBytes: process.memoryUsage.rss(), policyBytes: policy.memoryBytes, result }))
await toolchain.close()
