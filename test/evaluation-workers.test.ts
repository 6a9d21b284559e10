// Threads for policies that use the network: what is asked of one that stops fails, and what is asked next is answered.
import type { Worker } from 'node:worker_threads'
import { afterEach, expect, test } from '@jest/globals'
import { loadConfig } from '../src/config.ts'
import { EvaluationWorkers, startWorker } from '../src/evaluation-workers.ts'
import { compilePolicyModule } from '../src/policy/policy-module.ts'
import { toolchain } from './support/toolchain.ts'

/** The thread of the network first. */
const started: Worker[] = []
const recording: typeof startWorker = (...args) => {
  const worker = startWorker(...args)
  started.push(worker)
  return worker
}

const { evaluation } = loadConfig({ env: {}, overrides: { 'evaluation.network.allow': ['localhost'], 'evaluation.network.threads': 2 } })
const workers: EvaluationWorkers[] = []
afterEach(() => Promise.all(workers.splice(0).map((one) => one.close())))

const rego = `package p
double := input.x * 2
endless := count([1 | some i, j, k; input.a[i] + input.a[j] == input.a[k] + 0.5])
`
const large = JSON.stringify({ a: Array.from({ length: 2_000 }, (_, i) => i) })

async function start() {
  const { wasm } = await toolchain.build({ files: { 'p.rego': rego } }, ['p/double', 'p/endless'], { skipReads: true })
  const one = new EvaluationWorkers({ ...evaluation, maxSteps: 1_000_000_000 }, toolchain, '{}', recording)
  workers.push(one)
  started.length = 0
  const policy = await one.load(await compilePolicyModule(wasm), '{}')
  const double = async (x: number) => (await policy.evaluate('p/double', JSON.stringify({ x }), 0)).result
  return { policy, double, threads: started.slice(1) }
}

test('an evaluation whose thread is stopped fails with a code, and the next ones are answered', async () => {
  const { policy, double, threads } = await start()
  expect(threads).toHaveLength(2)
  expect(await double(21)).toBe('42')
  const running = Promise.allSettled([1, 2, 3].map(() => policy.evaluate('p/endless', large, 0)))
  await threads[0]?.terminate()
  for (const outcome of await running) {
    expect(outcome).toMatchObject({
      status: 'rejected',
      reason: { code: 'ERR_EVALUATION_FAILED', message: 'the evaluating thread stopped' },
    })
  }
  expect(await Promise.all([1, 2, 3, 4].map(double))).toEqual(['2', '4', '6', '8'])
})

test('without anything under way, too, and again', async () => {
  const { double, threads } = await start()
  expect(threads).toHaveLength(2)
  for (const thread of threads) await thread.terminate()
  expect(await double(4)).toBe('8')
  await started.at(-1)?.terminate()
  expect(await double(5)).toBe('10')
})
