// The thread of the toolchain: one reactor, one operation after another.
// Messages in: {id, op, request}. Messages out: {module, sha256} once, then {id, answer} or {id, failure} each.
import { parentPort } from 'node:worker_threads'
import { toPdpError } from '../errors.ts'
import { loadToolchainModule } from './artifact.ts'
import { Reactor } from './reactor.ts'

export interface WorkerRequest {
  readonly id: number
  readonly op: string
  /** JSON text. */
  readonly request: string
}

export type WorkerMessage =
  | { readonly module: WebAssembly.Module; readonly sha256: string }
  | { readonly id: number; readonly answer: string }
  | { readonly id: number; readonly failure: { readonly code: string; readonly message: string } }

const port = parentPort
if (port === null) throw new TypeError('worker.ts runs in a worker thread')

const send = (message: WorkerMessage) => port.postMessage(message)
const { module, sha256 } = loadToolchainModule()
send({ module, sha256 })
let reactor = new Reactor(module)

/** The compiler keeps some 3 MiB of each build, and WebAssembly's memory only grows. A new instance has 22 MiB and takes 64 ms. */
const maxKeptBytes = 128 * 1024 * 1024

port.on('message', ({ id, op, request }: WorkerRequest) => {
  try {
    send({ id, answer: reactor.run(op, request) })
  } catch (thrown) {
    const { code, message } = toPdpError(thrown)
    send({ id, failure: { code, message } })
  }
  // Behind the answer: nobody waits for it.
  if (reactor.memoryBytes > maxKeptBytes) reactor = new Reactor(module)
})
