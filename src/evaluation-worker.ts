// The thread that evaluates policies which use the network: the same engine as on the serving thread, with a network.
// While a policy waits for an answer this thread sleeps, and the serving thread goes on.
// Messages in: WorkerCommand. Messages out: {id, evaluation} or {id, failure}.
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { toPdpError } from './errors.ts'
import { createBlockingNetwork } from './network/blocking.ts'
import { type Evaluation, PolicyInstance } from './policy/policy-instance.ts'
import type { PolicyLimits } from './policy/policy-limits.ts'
import type { PolicyModule } from './policy/policy-module.ts'
import { ReactorHost } from './rego/reactor-host.ts'

export interface EvaluationWorkerData {
  readonly toolchain: WebAssembly.Module
  readonly builtins: readonly string[]
  readonly runtimeJson: string
  readonly limits: PolicyLimits
  readonly port: MessagePort
  readonly signal: SharedArrayBuffer
  readonly networkTimeoutMs: number
}

export type WorkerCommand =
  | { readonly op: 'load'; readonly id: number; readonly policy: number; readonly module: PolicyModule; readonly data: string }
  | { readonly op: 'unload'; readonly policy: number }
  | {
      readonly op: 'evaluate'
      readonly id: number
      readonly policy: number
      readonly entrypoint: string
      readonly input: string | undefined
      readonly timeMs: number
      /** Of headers, for requests of the policy. */
      readonly fields: Readonly<Record<string, string>>
    }

export type WorkerReply =
  | { readonly id: number; readonly evaluation: Evaluation | undefined }
  | { readonly id: number; readonly failure: { readonly code: string; readonly message: string; readonly steps: number } }

const { toolchain, builtins, runtimeJson, limits, port, signal, networkTimeoutMs } = workerData as EvaluationWorkerData
const host = new ReactorHost(
  toolchain,
  new Set(builtins),
  runtimeJson,
  createBlockingNetwork(port, signal, networkTimeoutMs, () => fields),
)
/** Of the evaluation that runs. */
let fields: Readonly<Record<string, string>> = {}
const policies = new Map<number, PolicyInstance>()
const reply = (message: WorkerReply) => parentPort?.postMessage(message)

parentPort?.on('message', (command: WorkerCommand) => {
  if (command.op === 'unload') {
    policies.delete(command.policy)
    return
  }
  const policy = policies.get(command.policy)
  try {
    if (command.op === 'load') {
      policies.set(command.policy, new PolicyInstance(command.module, command.data, host, limits))
      reply({ id: command.id, evaluation: undefined })
    } else {
      const instance = policy as PolicyInstance
      fields = command.fields
      const entrypoint = instance.entrypoints.get(command.entrypoint) as number
      reply({ id: command.id, evaluation: instance.evaluate(entrypoint, command.input, command.timeMs) })
    }
  } catch (thrown) {
    const { code, message } = toPdpError(thrown)
    reply({ id: command.id, failure: { code, message, steps: policy?.lastSteps ?? 0 } })
  }
})
