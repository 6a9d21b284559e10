// Batches of /v1/decide without sockets, in a process of its own: batch-child.ts BUNDLE STATE SIZE SECONDS. From the text of a
// request to the text of its answer, each decision recorded in a file. Prints recorded decisions a second.
import { setImmediate as nextTurn } from 'node:timers/promises'
import { createRecordWriter } from '../../src/audit/decision-record.ts'
import { openFileLog } from '../../src/audit/file-log.ts'
import { recorded } from '../../src/audit/recorded.ts'
import { BundleLifecycle } from '../../src/bundle-lifecycle.ts'
import { loadConfig } from '../../src/config.ts'
import { ActiveBundles } from '../../src/policy/active-bundles.ts'
import { createEngine } from '../../src/policy/engine.ts'
import { Toolchain } from '../../src/rego/toolchain.ts'
import { StateFolder } from '../../src/state/state-folder.ts'
import { createDecideHandler } from '../../src/transport/http/decide-route.ts'
import { abacBatch } from './abac.ts'

const [bundle, folder, size, seconds] = [
  process.argv[2] as string,
  process.argv[3] as string,
  Number(process.argv[4]),
  Number(process.argv[5]),
]
const config = loadConfig({ env: {}, overrides: { state: folder, bundles: [{ path: bundle }] } })
const toolchain = new Toolchain()
const state = new StateFolder(config.state)
const bundles = new ActiveBundles()
const lifecycle = new BundleLifecycle(config, toolchain, state, bundles, undefined)
await lifecycle.activateSource(config.bundles[0] as (typeof config.bundles)[0])
const fail = (error: Error) => {
  throw error
}
const log = await openFileLog({ ...config.decisionLog, folder: state.decisionsFolder, onError: fail })
const engine = createEngine(bundles, { trustedKey: config.evaluation.trustedKey })
const decider = recorded(engine, log, createRecordWriter({ ...config.decisionLog, labels: {} }), fail)
const handle = createDecideHandler(decider, { ...config.requests, forbidPrototypeKeys: true })
const text = JSON.stringify(abacBatch(size))
const headers = { correlationId: 'bench', traceparent: undefined, caller: { authenticated: false, address: '127.0.0.1' } }

await run(1_000)
const began = performance.now()
const decisions = await run(seconds * 1_000)
process.stdout.write(`${Math.round(decisions / ((performance.now() - began) / 1_000))}\n`)
await log.close()
await lifecycle.close()
await toolchain.close()
state.close()

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
