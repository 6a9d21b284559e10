// One running policy.wasm: JSON text in, JSON text out, bounded in steps and memory, usable again after any trap.
// Synchronous and not reentrant. Knows nothing of bundles, decisions or the meaning of a result.
//
// LoadedPolicy of @open-policy-agent/opa-wasm is the ABI for set-up and data. The evaluation itself calls
// opa_eval directly, because LoadedPolicy.evaluate takes falsy inputs for none and rounds numbers.
// @see https://www.openpolicyagent.org/docs/wasm (ABI 1.2 and newer)
import { PdpError } from '../errors.ts'
import { stepsLeft } from '../wasm/snapshot.ts'
import type { BuiltinHost } from './builtin-host.ts'
import { loadPolicy } from './opa-abi.ts'
import { PolicyHeap } from './policy-heap.ts'
import type { PolicyLimits } from './policy-limits.ts'
import type { PolicyModule } from './policy-module.ts'

export interface Evaluation {
  /** The entrypoint's value as JSON text with the policy's own digits; undefined where it has none. */
  readonly result: string | undefined
  readonly steps: number
}

interface OpaExports {
  opa_eval(reserved: number, entrypoint: number, data: number, input: number, inputLen: number, heap: number, format: number): number
  opa_malloc(bytes: number): number
  opa_free(address: number): void
  opa_json_dump(value: number): number
  opa_value_dump(value: number): number
  opa_value_parse(text: number, bytes: number): number
  builtins(): number
}

const pageBytes = 65_536
/** OPA's values need about 16 bytes of memory for a byte of JSON; growing later is slow. */
const bytesPerDataByte = 16
const maxPages = 65_536
const setupSteps = 0x7fffffff

export class PolicyInstance {
  readonly entrypoints: ReadonlyMap<string, number>
  readonly #memory: WebAssembly.Memory
  readonly #exports: OpaExports
  readonly #steps: WebAssembly.Global
  readonly #host: BuiltinHost
  readonly #limits: PolicyLimits
  readonly #dataAddress: number
  readonly #heap: PolicyHeap
  readonly #builtinNames: string[] = []
  #bytes: Buffer
  #timeNs: bigint | undefined
  #strict = false

  /**
   * @param data JSON text of the bundle's data
   * @throws PdpError ERR_POLICY_INVALID, ERR_BUILTIN_MISSING, ERR_MEMORY_EXHAUSTED
   */
  constructor(module: PolicyModule, data: string, host: BuiltinHost, limits: PolicyLimits) {
    this.#host = host
    this.#limits = limits
    const dataBytes = Buffer.byteLength(data) * bytesPerDataByte
    const initial = Math.max(module.minMemoryPages, Math.ceil(dataBytes / pageBytes) + 2)
    const maximum = Math.min(maxPages, initial + Math.ceil(limits.maxMemoryBytes / pageBytes))
    if (initial > maxPages) {
      throw new PdpError(
        'ERR_MEMORY_EXHAUSTED',
        `the data would need \`${Math.ceil(dataBytes / 2 ** 20)}\` MiB of WebAssembly memory, more than 4,096 MiB`,
      )
    }
    this.#memory = new WebAssembly.Memory({ initial, maximum })
    this.#bytes = Buffer.from(this.#memory.buffer)
    const instance = new WebAssembly.Instance(module.wasm, { env: this.#imports() })
    this.#exports = instance.exports as unknown as OpaExports
    this.#steps = stepsLeft(instance)
    this.#steps.value = setupSteps
    for (const [name, id] of Object.entries(this.#readJson(this.#exports.builtins()) as Record<string, number>)) {
      if (!host.names.has(name))
        throw new PdpError('ERR_BUILTIN_MISSING', `the policy needs the function \`${name}\`, which does not exist`)
      this.#builtinNames[id] = name
    }
    if (this.#builtinNames.length > 0) host.warm()
    const policy = loadPolicy(instance, this.#memory, data)
    this.entrypoints = new Map(Object.entries(policy.entrypoints))
    this.#dataAddress = policy.dataAddr
    this.#heap = new PolicyHeap(instance, this.#memory, policy.dataHeapPtr, policy.baseHeapPtr)
  }

  /** Bytes of WebAssembly memory held. */
  get memoryBytes(): number {
    return this.#memory.buffer.byteLength
  }

  /**
   * @param entrypoint from `entrypoints`
   * @param input JSON text; undefined: `input` is undefined in the policy
   * @param timeMs the instant of the evaluation
   * @param strict built-in errors end the evaluation rather than make an expression undefined
   * @throws PdpError ERR_STEPS_EXHAUSTED, ERR_MEMORY_EXHAUSTED, ERR_STACK_EXHAUSTED, ERR_BUILTIN_FAILED,
   * ERR_EVALUATION_FAILED; the instance is usable afterwards
   */
  evaluate(entrypoint: number, input: string | undefined, timeMs: number, strict = false): Evaluation {
    this.#timeNs = BigInt(timeMs) * 1_000_000n
    this.#strict = strict
    this.#steps.value = this.#limits.maxSteps
    try {
      const inputBytes = input === undefined ? 0 : this.#writeInput(input)
      const heap = align(this.#heap.start + inputBytes)
      const inputAddress = input === undefined ? 0 : this.#heap.start
      const address = this.#exports.opa_eval(0, entrypoint, this.#dataAddress, inputAddress, inputBytes, heap, 0)
      return { result: readResultSet(this.#readString(address)), steps: this.#limits.maxSteps - this.#steps.value }
    } catch (thrown) {
      const exhausted = this.#steps.value === 0
      this.#steps.value = setupSteps
      this.#heap.restore()
      throw this.#toError(thrown, exhausted)
    }
  }

  #toError(thrown: unknown, exhausted: boolean): PdpError {
    if (thrown instanceof PdpError) return thrown
    if (exhausted) {
      return new PdpError('ERR_STEPS_EXHAUSTED', `the evaluation used up its budget of \`${this.#limits.maxSteps}\` steps`)
    }
    if (thrown instanceof RangeError && !thrown.message.includes('memory')) {
      return new PdpError('ERR_STACK_EXHAUSTED', 'the evaluation recursed too deeply', { cause: thrown })
    }
    return new PdpError('ERR_EVALUATION_FAILED', 'the evaluation failed', { cause: thrown })
  }

  #writeInput(input: string): number {
    this.#heap.reserve(input.length * 3)
    return this.#view().write(input, this.#heap.start, 'utf8')
  }

  /** A view on memory as it is now: growing detaches older ones. */
  #view(): Buffer {
    if (this.#bytes.length !== this.#memory.buffer.byteLength) this.#bytes = Buffer.from(this.#memory.buffer)
    return this.#bytes
  }

  #readString(address: number): string {
    const bytes = this.#view()
    return bytes.toString('utf8', address, bytes.indexOf(0, address))
  }

  #readJson(value: number): unknown {
    return JSON.parse(this.#readString(this.#exports.opa_json_dump(value)))
  }

  #imports(): WebAssembly.ModuleImports {
    const call = (id: number, _context: number, ...args: number[]) => this.#callBuiltin(id, args)
    return {
      memory: this.#memory,
      opa_abort: (address: number) => {
        const message = this.#readString(address)
        if (/malloc|memory/.test(message)) {
          throw new PdpError('ERR_MEMORY_EXHAUSTED', `the evaluation used up its \`${this.#limits.maxMemoryBytes}\` bytes of memory`)
        }
        throw new PdpError('ERR_EVALUATION_FAILED', `the evaluation failed: ${message}`)
      },
      opa_println: () => {},
      opa_builtin0: call,
      opa_builtin1: call,
      opa_builtin2: call,
      opa_builtin3: call,
      opa_builtin4: call,
    }
  }

  #callBuiltin(id: number, args: number[]): number {
    const name = this.#builtinNames[id] as string
    if (this.#timeNs !== undefined) this.#host.begin(this.#timeNs)
    this.#timeNs = undefined
    const texts: string[] = []
    for (const arg of args) texts.push(this.#readString(this.#exports.opa_value_dump(arg)))
    const answer = this.#host.call(name, `[${texts.join(',')}]`)
    switch (answer.charCodeAt(0)) {
      case 0x56: // V
        return this.#parseValue(answer.slice(1))
      case 0x55: // U
        return 0
      case 0x45: // E
        if (!this.#strict) return 0
    }
    throw new PdpError('ERR_BUILTIN_FAILED', `${name}: ${answer.slice(1)}`)
  }

  #parseValue(text: string): number {
    const length = Buffer.byteLength(text)
    const address = this.#exports.opa_malloc(length)
    this.#view().write(text, address, 'utf8')
    const value = this.#exports.opa_value_parse(address, length)
    this.#exports.opa_free(address)
    return value
  }
}

function align(address: number): number {
  return (address + 7) & ~7
}

/** From `[]` or `[{"result":…}]` to the value. */
function readResultSet(text: string): string | undefined {
  if (text === '[]') return undefined
  if (!text.startsWith('[{"result":') || !text.endsWith('}]')) {
    throw new PdpError('ERR_EVALUATION_FAILED', 'the policy returned something other than one result')
  }
  return text.slice('[{"result":'.length, -2)
}
