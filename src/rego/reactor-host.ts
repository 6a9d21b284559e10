// OPA's built-in functions for policies that run on this thread: the adapter from a reactor to the port that
// src/policy declares (BuiltinHost). The reactor is started when the first policy needs it.
import { Reactor } from './reactor.ts'
import type { Toolchain } from './toolchain.ts'

/** Bound on one call's own work; a call that is heavier fails. */
const maxCallSteps = 20_000_000n

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
  #reactor: Reactor | undefined

  constructor(module: WebAssembly.Module, names: ReadonlySet<string>, runtimeJson: string) {
    this.#module = module
    this.names = names
    this.#runtimeJson = runtimeJson
  }

  warm(): void {
    this.#started()
  }

  begin(timeNs: bigint): void {
    this.#started().begin(timeNs)
  }

  call(name: string, args: readonly Uint8Array[]): Uint8Array {
    return this.#started().builtin(name, args, maxCallSteps)
  }

  #started(): Reactor {
    this.#reactor ??= new Reactor(this.#module, { runtimeJson: this.#runtimeJson, restorable: true })
    return this.#reactor
  }
}
