// One question to two engines: Verdict's, with all that a running service has, and OPA's own evaluator.
import { PdpError } from '../../src/errors.ts'
import { PolicyInstance } from '../../src/policy/policy-instance.ts'
import { compilePolicyModule } from '../../src/policy/policy-module.ts'
import { createReactorHost, type ReactorHost } from '../../src/rego/reactor-host.ts'
import { Toolchain } from '../../src/rego/toolchain.ts'
import { canonical } from '../support/json-value.ts'

export interface Question {
  readonly files: Readonly<Record<string, string>>
  readonly regoVersion?: 0 | 1
  /** JSON text of an object. */
  readonly data: string
  /** JSON texts; each is asked. */
  readonly inputs: readonly string[]
  readonly entrypoint: string
  /** BuildOptions.indexFrom */
  readonly indexFrom?: number | undefined
}

export interface Difference {
  readonly input: string
  readonly verdict: string
  readonly opa: string
}

/** Instant of every evaluation. */
const timeMs = Date.UTC(2026, 2, 4, 12, 30, 15, 250)
const limits = { maxSteps: 50_000_000, maxMemoryBytes: 256 * 2 ** 20 }

/** Codes of Verdict's bounds, which OPA does not have. */
const bounds: ReadonlySet<string> = new Set(['ERR_STEPS_EXHAUSTED', 'ERR_MEMORY_EXHAUSTED', 'ERR_STACK_EXHAUSTED'])

export class Engines {
  readonly toolchain = new Toolchain()
  #host: Promise<ReactorHost> | undefined
  /** Answers that were compared. */
  compared = 0
  /** Questions that did not compile, and answers that a bound ended. */
  discarded = 0

  host(): Promise<ReactorHost> {
    this.#host ??= createReactorHost(this.toolchain, '{}')
    return this.#host
  }

  /** @returns undefined when both answer alike */
  async differ(question: Question, weight = 1): Promise<Difference | undefined> {
    const { files, regoVersion, data, entrypoint } = question
    let instance: PolicyInstance
    try {
      const { wasm } = await this.toolchain.build({ files, regoVersion }, [entrypoint], { skipReads: true, indexFrom: question.indexFrom })
      instance = new PolicyInstance(await compilePolicyModule(wasm), data, await this.host(), limits)
    } catch (thrown) {
      if (!(thrown instanceof PdpError) || thrown.code !== 'ERR_REGO') throw thrown
      this.discarded++
      return undefined
    }
    const oracle = await this.#opa(question)
    for (const [i, input] of question.inputs.entries()) {
      const verdict = ask(instance, entrypoint, input)
      const opa = oracle[i] as string
      if (bounds.has(verdict) || opa === 'unwritable') {
        this.discarded++
        continue
      }
      this.compared += weight
      if (verdict !== opa) return { input, verdict, opa }
    }
    return undefined
  }

  async #opa({ files, regoVersion, data, entrypoint, inputs }: Question): Promise<string[]> {
    const timeNs = BigInt(timeMs) * 1_000_000n
    const answers = await this.toolchain.evalAll({ files, regoVersion, data, entrypoint, timeNs }, inputs).catch((thrown: unknown) => {
      // OPA's evaluator panics on some arguments; the toolchain says so for all inputs together.
      if (thrown instanceof PdpError && thrown.message.startsWith('the toolchain failed')) return inputs.map(() => thrown)
      throw thrown
    })
    return answers.map((answer) => {
      // to_number("01") is the number 01, which OPA's evaluator compares with and cannot write as JSON.
      if (answer instanceof PdpError) return answer.message.includes('invalid number literal') ? 'unwritable' : 'error'
      return answer.result === undefined ? 'undefined' : canonical(answer.result)
    })
  }

  async close(): Promise<void> {
    await this.toolchain.close()
  }
}

function ask(instance: PolicyInstance, entrypoint: string, input: string): string {
  try {
    const { result } = instance.evaluate(instance.entrypoints.get(entrypoint) as number, input, timeMs)
    return result === undefined ? 'undefined' : canonical(result)
  } catch (thrown) {
    if (!(thrown instanceof PdpError)) throw thrown
    return bounds.has(thrown.code) ? thrown.code : 'error'
  }
}
