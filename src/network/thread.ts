// The thread that talks to the network for policies. Threads that evaluate send it a request and sleep until the
// answer is there; it is the only one that is awake meanwhile.
// Messages in: {port, signal} for each evaluating thread; on that port {request}, answered by {answer} and a wake-up.
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { createReach } from './reach.ts'
import { type NetworkLimits, type NetworkRequest, send } from './send.ts'

export interface NetworkThreadData {
  readonly allow: readonly string[]
  readonly limits: NetworkLimits
}

const { allow, limits } = workerData as NetworkThreadData
const reach = createReach(allow)

parentPort?.on('message', ({ port, signal }: { port: MessagePort; signal: SharedArrayBuffer }) => {
  const woken = new Int32Array(signal)
  port.on('message', async (request: NetworkRequest) => {
    port.postMessage(JSON.stringify(await send(request, reach, limits)))
    Atomics.store(woken, 0, 1)
    Atomics.notify(woken, 0)
  })
})
