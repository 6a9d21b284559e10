// Threads for policies that use the network (evaluation-worker.ts), and the thread that is their network
// (network/thread.ts). Started when the first such policy is loaded. Knows nothing of decisions.
import { MessageChannel, type Worker } from 'node:worker_threads'
import type { Config } from './config.ts'
import { PdpError, type PdpErrorCode } from './errors.ts'
import type { EvaluationWorkerData, WorkerCommand, WorkerReply } from './evaluation-worker.ts'
import type { NetworkThreadData } from './network/thread.ts'
import type { Evaluation } from './policy/policy-instance.ts'
import type { PolicyModule } from './policy/policy-module.ts'
import type { RemotePolicy } from './policy/remote-policy.ts'
import type { Toolchain } from './rego/toolchain.ts'
import { outgoingFields } from './telemetry/trace-context.ts'
import { startThread } from './threads.ts'

/** Evaluations that may wait for a free thread. */
const maxWaiting = 1_000

interface Pending {
  readonly resolve: (evaluation: Evaluation) => void
  readonly reject: (error: PdpError) => void
}

interface Thread {
  readonly worker: Worker
  stopped: boolean
  readonly pending: Map<number, Pending>
}

export class EvaluationWorkers {
  readonly #config: Config['evaluation']
  readonly #toolchain: Toolchain
  readonly #runtimeJson: string
  readonly #startWorker: typeof startWorker
  #threads: Promise<Thread[]> | undefined
  #network: Worker | undefined
  #nextId = 1

  /** @param start how a thread is started */
  constructor(config: Config['evaluation'], toolchain: Toolchain, runtimeJson: string, start: typeof startWorker = startWorker) {
    this.#startWorker = start
    this.#config = config
    this.#toolchain = toolchain
    this.#runtimeJson = runtimeJson
  }

  /** Whether policies may reach anything. */
  get configured(): boolean {
    return this.#config.network.allow.length > 0
  }

  /**
   * @param data JSON text
   * @throws PdpError as PolicyInstance does
   */
  async load(module: PolicyModule, data: string): Promise<RemotePolicy> {
    let placed = this.#place(module, data)
    await placed
    return {
      evaluate: async (entrypoint, input, timeMs, trace) => {
        if ((await placed).threads.some(({ stopped }) => stopped)) placed = this.#place(module, data)
        const { threads, policy } = await placed
        const thread = threads.reduce((a, b) => (a.pending.size <= b.pending.size ? a : b))
        if (thread.pending.size >= maxWaiting) {
          throw new PdpError('ERR_OVERLOADED', 'too many evaluations wait for the network: ask again later')
        }
        return this.#ask(thread, { op: 'evaluate', id: this.#nextId++, policy, entrypoint, input, timeMs, fields: outgoingFields(trace) })
      },
      close: () => {
        placed.then(
          ({ threads, policy }) => {
            for (const { worker } of threads) worker.postMessage({ op: 'unload', policy } satisfies WorkerCommand)
          },
          () => {},
        )
      },
    }
  }

  async #place(module: PolicyModule, data: string): Promise<{ threads: readonly Thread[]; policy: number }> {
    this.#threads ??= this.#start()
    const threads = await this.#threads
    const policy = this.#nextId++
    await Promise.all(threads.map((thread) => this.#ask(thread, { op: 'load', id: this.#nextId++, policy, module, data })))
    return { threads, policy }
  }

  async close(): Promise<void> {
    const threads = await this.#threads?.catch(() => [])
    await Promise.all([this.#network, ...(threads ?? []).map(({ worker }) => worker)].map((worker) => worker?.terminate()))
  }

  async #start(): Promise<Thread[]> {
    const { allow, timeoutMs, maxResponseBytes, threads } = this.#config.network
    const networkData: NetworkThreadData = { allow, limits: { timeoutMs, maxResponseBytes } }
    const network = this.#startWorker('./network/thread', networkData)
    this.#network = network
    const [toolchain, { builtins }] = await Promise.all([this.#toolchain.module(), this.#toolchain.about()])
    const started: Thread[] = []
    for (let i = 0; i < threads; i++) {
      const { port1, port2 } = new MessageChannel()
      const signal = new SharedArrayBuffer(4)
      network.postMessage({ port: port1, signal }, [port1])
      const data: EvaluationWorkerData = {
        toolchain,
        builtins,
        runtimeJson: this.#runtimeJson,
        limits: this.#config,
        port: port2,
        signal,
        networkTimeoutMs: timeoutMs,
      }
      const thread: Thread = { worker: this.#startWorker('./evaluation-worker', data, [port2]), stopped: false, pending: new Map() }
      thread.worker.on('message', (message: WorkerReply) => receive(thread, message))
      thread.worker.on('exit', () => this.#stop(started, network))
      started.push(thread)
    }
    return started
  }

  /** One thread that stopped takes the others along: what is asked next starts all of them anew. */
  #stop(threads: readonly Thread[], network: Worker): void {
    // The others of a set that was stopped exit later, when a new set may be at work.
    if (threads.some(({ stopped }) => stopped)) return
    this.#threads = undefined
    for (const thread of threads) {
      thread.stopped = true
      for (const { reject } of thread.pending.values()) reject(new PdpError('ERR_EVALUATION_FAILED', 'the evaluating thread stopped'))
      thread.pending.clear()
      thread.worker.terminate()
    }
    network.terminate()
  }

  #ask(thread: Thread, command: WorkerCommand & { readonly id: number }): Promise<Evaluation> {
    if (thread.stopped) return Promise.reject(new PdpError('ERR_EVALUATION_FAILED', 'the evaluating thread stopped'))
    const { promise, resolve, reject } = Promise.withResolvers<Evaluation>()
    thread.pending.set(command.id, { resolve, reject })
    thread.worker.postMessage(command)
    return promise
  }
}

function receive(thread: Thread, message: WorkerReply): void {
  const pending = thread.pending.get(message.id)
  thread.pending.delete(message.id)
  if ('evaluation' in message) pending?.resolve(message.evaluation as Evaluation)
  else {
    const { code, message: text, steps } = message.failure
    pending?.reject(Object.assign(new PdpError(code as PdpErrorCode, text), { steps }))
  }
}

export function startWorker(module: string, data: object, transfer: readonly import('node:worker_threads').MessagePort[] = []): Worker {
  const worker = startThread(module, import.meta.url, data, transfer)
  // A failure of the thread shows as its exit; without a listener it would end the process.
  worker.on('error', () => {})
  worker.unref()
  return worker
}
