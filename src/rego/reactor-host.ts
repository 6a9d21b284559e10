// OPA's built-in functions for policies that run on this thread: the adapter from a reactor to the port that
// src/policy declares (BuiltinHost). The reactor is started when the first policy needs it.
import { type Network, Reactor } from './reactor.ts'
import type { Toolchain } from './toolchain.ts'

/**
 * Bounds on the work of one call, and of all calls of one evaluation. Callers charge calls by their arguments so that
 * these are not reached; they stop what the charges did not foresee. Not to be relied upon for equal verdicts: the
 * count differs a little from one call to the next.
 */
const maxCallSteps = 8_000_000
const maxEvaluationSteps = 16_000_000

const warmingCalls = 400

/**
 * @param runtimeJson what opa.runtime() answers, as JSON text
 * @throws PdpError ERR_TOOLCHAIN
 */
export async function createReactorHost(toolchain: Toolchain, runtimeJson: string): Promise<ReactorHost> {
  const [module, { builtins }] = await Promise.all([toolchain.module(), toolchain.about()])
  return new ReactorHost(module, new Set(builtins), runtimeJson)
}

export class ReactorHost {
  readonly names: ReadonlySet<string>
  readonly #module: WebAssembly.Module
  readonly #runtimeJson: string
  readonly #network: Network | undefined
  #reactor: Reactor | undefined
  #stepsLeft = maxEvaluationSteps

  /** @param network for http.send and net.lookup_ip_addr; without it they fail */
  constructor(module: WebAssembly.Module, names: ReadonlySet<string>, runtimeJson: string, network?: Network) {
    this.#network = network
    this.#module = module
    this.names = names
    this.#runtimeJson = runtimeJson
  }

  warm(): void {
    if (this.#reactor !== undefined) return
    this.#started()
    // The first calls run code that is not optimised yet, ten times as slowly; no request should pay for that.
    this.begin(0n)
    const args = [Buffer.from('1.5'), Buffer.from('{"a": [1, "b"]}')] as const
    for (let i = 0; i < warmingCalls; i++) {
      this.call('plus', [args[0], args[0]])
      this.call('json.marshal', [args[1]])
    }
  }

  begin(timeNs: bigint): void {
    this.#stepsLeft = maxEvaluationSteps
    this.#started().begin(timeNs)
  }

  call(name: string, args: readonly Uint8Array[]): Uint8Array {
    const reactor = this.#started()
    const answer = reactor.builtin(name, args, BigInt(Math.max(Math.min(this.#stepsLeft, maxCallSteps), 1)))
    this.#stepsLeft -= reactor.stepsOfLastCall
    return answer
  }

  pattern(pattern: string, delimiters?: string): string | undefined {
    const args = (delimiters === undefined ? [pattern] : [pattern, delimiters]).map((text) => Buffer.from(JSON.stringify(text)))
    try {
      const name = delimiters === undefined ? 'verdict.regex_program' : 'verdict.glob_program'
      const answer = this.#started().builtin(name, args, BigInt(maxCallSteps))
      return answer[0] === 'S'.charCodeAt(0) ? Buffer.from(answer.subarray(1)).toString() : undefined
    } catch {
      // It took too many steps; so will OPA's own function, which says so.
      return undefined
    }
  }

  #started(): Reactor {
    this.#reactor ??= new Reactor(this.#module, { runtimeJson: this.#runtimeJson, restorable: true, network: this.#network })
    return this.#reactor
  }
}
