// Batches of /v1/decide without sockets, in a process of its own: batch-child.ts BUNDLE STATE SIZE SECONDS. From the text of a
// request to the text of its answer, each decision recorded in a file. Prints recorded decisions a second.
import { setImmediate as nextTurn } from 'node:timers/promises'
import { createDecideHandler } from '../../src/transport/http/decide-route.ts'
import { startDecider } from '../support/decider.ts'
import { abacBatch } from './abac.ts'

const [bundle, folder, size, seconds] = [
  process.argv[2] as string,
  process.argv[3] as string,
  Number(process.argv[4]),
  Number(process.argv[5]),
]
const { config, decider, log, close } = await startDecider(bundle, folder)
const handle = createDecideHandler(decider, { ...config.requests, forbidPrototypeKeys: true })
const text = JSON.stringify(abacBatch(size))
const headers = { correlationId: 'bench', traceparent: undefined, caller: { authenticated: false, address: '127.0.0.1' } }

await run(2_000)
const began = performance.now()
const decisions = await run(seconds * 1_000)
process.stdout.write(`${Math.round(decisions / ((performance.now() - began) / 1_000))}\n`)
await close()

async function run(forMs: number): Promise<number> {
  let count = 0
  for (const until = performance.now() + forMs; performance.now() < until; count += size) {
    const answer = await handle(text, headers)
    if (typeof answer !== 'string' || !answer.startsWith('{"evaluations":[{"decision":true,'))
      throw new Error(`not as it should be: ${answer}`)
    do await nextTurn()
    while (!log.available)
  }
  await log.flush()
  return count
}
