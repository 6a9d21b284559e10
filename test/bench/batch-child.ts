// Batches without sockets, in a process of its own: batch-child.ts BUNDLE STATE SIZE SECONDS [MESSAGE]. From the text of a request
// for /v1/decide to the text of its answer, or from the DecideBatchRequest in the file MESSAGE to its answer; each decision recorded
// in a file. Prints recorded decisions a second.
import { readFileSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { answerBatch } from '../../src/transport/grpc/decision-service.ts'
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
const limits = { ...config.requests, forbidPrototypeKeys: true }
const handle = createDecideHandler(decider, limits)
const text = JSON.stringify(abacBatch(size))
const caller = { authenticated: false, address: '127.0.0.1' }
const file = process.argv[6]
const ask = file === undefined ? overText() : overMessage(readFileSync(file))

await run(2_000)
const began = performance.now()
const decisions = await run(seconds * 1_000)
process.stdout.write(`${Math.round(decisions / ((performance.now() - began) / 1_000))}\n`)
await close()

async function run(forMs: number): Promise<number> {
  let count = 0
  for (const until = performance.now() + forMs; performance.now() < until; count += size) {
    await ask()
    do await nextTurn()
    while (!log.available)
  }
  await log.flush()
  return count
}

function overText(): () => Promise<void> {
  const headers = { correlationId: 'bench', trace: undefined, caller }
  return async () => {
    const answer = await handle(text, headers)
    if (typeof answer !== 'string' || !answer.startsWith('{"evaluations":[{"decision":true,'))
      throw new Error(`not as it should be: ${answer}`)
  }
}

function overMessage(message: Buffer): () => Promise<void> {
  const facts = { door: 'grpc', correlationId: 'bench', trace: undefined, caller }
  const allowedFirst = Buffer.from([0x08, 1])
  return async () => {
    const answer = await answerBatch(message, facts, decider, limits)
    // Behind the tag and the length of the first decision: its first field says that it is an allow.
    if (!Buffer.from(answer).subarray(1, 5).includes(allowedFirst)) throw new Error('not as it should be')
  }
}
