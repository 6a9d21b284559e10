// One running policy.wasm: JSON text in, JSON text out, bounded in steps and memory, usable again after any trap.
// Synchronous and not reentrant. Knows nothing of bundles, decisions or the meaning of a result.
//
// LoadedPolicy of @open-policy-agent/opa-wasm is the ABI for set-up and data. The evaluation itself calls
// opa_eval directly, because LoadedPolicy.evaluate takes falsy inputs for none and rounds numbers.
// @see https://www.openpolicyagent.org/docs/wasm (ABI 1.2 and newer)
import { PdpError } from '../errors.ts'
import { stepsLeft } from '../wasm/snapshot.ts'
import { BuiltinCalls, type Printer } from './builtin-calls.ts'
import type { BuiltinHost } from './builtin-host.ts'
import { forecastDataBytes } from './data-forecast.ts'
import { type PatchExports, patchData } from './data-patch.ts'
import { writeData } from './data-writer.ts'
import { loadPolicy } from './opa-abi.ts'
import { OrderedKeys } from './ordered-keys.ts'
import { PolicyHeap } from './policy-heap.ts'
import type { PolicyLimits } from './policy-limits.ts'
import { align, PolicyMemory } from './policy-memory.ts'
import type { PolicyModule } from './policy-module.ts'
import { compareExport, dataEndExport, strictExport } from './runtime-layout.ts'
import type { CallAnswers } from './varying-calls.ts'

export interface Evaluation {
  /** The entrypoint's value as JSON text with the policy's own digits; undefined where it has none. */
  readonly result: string | undefined
  readonly steps: number
  /** What functions answered whose answer varies, as JSON text (varying-calls.ts); absent: none was called. */
  readonly nd?: string | undefined
}

interface OpaExports extends PatchExports {
  opa_eval(reserved: number, entrypoint: number, data: number, input: number, inputLen: number, heap: number, format: number): number
  opa_json_dump(value: number): number
  builtins(): number
  [compareExport](a: number, b: number): number
}

const pageBytes = 65_536
/** What the set-up of a module takes beside its constants: the list of the functions that it needs. */
const setupPages = 2
const maxPages = 65_536
const setupSteps = 0x7fffffff

export class PolicyInstance {
  readonly entrypoints: ReadonlyMap<string, number>
  /** Names of the functions that the module asks of the host. */
  readonly builtins: ReadonlySet<string>
  readonly #dataStart: number
  readonly #memory: PolicyMemory
  readonly #exports: OpaExports
  readonly #steps: WebAssembly.Global
  readonly #strict: WebAssembly.Global
  readonly #calls: BuiltinCalls
  readonly #limits: PolicyLimits
  readonly #dataAddress: number
  readonly #heap: PolicyHeap
  #lastSteps = 0
  /** What the module's global says; undefined: not known. */
  #isStrict: boolean | undefined

  /**
   * @param data JSON text of the bundle's data
   * @param printer where print() and trace() go; default nowhere
   * @throws PdpError ERR_POLICY_INVALID, ERR_BUILTIN_MISSING, ERR_MEMORY_EXHAUSTED
   */
  constructor(module: PolicyModule, data: string, host: BuiltinHost, limits: PolicyLimits, printer?: Printer) {
    this.#limits = limits
    const dataBytes = forecastDataBytes(data)
    const initial = module.minMemoryPages + Math.ceil(dataBytes / pageBytes) + setupPages
    const maximum = Math.min(maxPages, initial + Math.ceil(limits.maxMemoryBytes / pageBytes))
    if (initial > maxPages) {
      throw new PdpError(
        'ERR_MEMORY_EXHAUSTED',
        `the data would need \`${Math.ceil(dataBytes / 2 ** 20)}\` MiB of WebAssembly memory, more than 4,096 MiB`,
      )
    }
    const memory = new WebAssembly.Memory({ initial, maximum })
    this.#memory = new PolicyMemory(memory)
    const keys = new OrderedKeys(this.#memory)
    this.#calls = new BuiltinCalls(host, this.#memory, keys, module.constantsEnd, printer)
    const instance = new WebAssembly.Instance(module.wasm, { env: this.#imports(memory) })
    this.#exports = instance.exports as unknown as OpaExports
    this.#memory.attach(instance)
    keys.attach(this.#exports[compareExport])
    this.#strict = instance.exports[strictExport] as WebAssembly.Global
    this.#steps = stepsLeft(instance)
    this.#steps.value = setupSteps
    const builtins = JSON.parse(this.#memory.readString(this.#exports.opa_json_dump(this.#exports.builtins()))) as Record<string, number>
    this.builtins = new Set(Object.keys(builtins))
    this.#calls.link(builtins)
    const policy = loadPolicy(instance, memory)
    this.entrypoints = new Map(Object.entries(policy.entrypoints))
    this.#dataStart = align(policy.baseHeapPtr)
    const { root, end } = writeData(memory, this.#dataStart, data)
    this.#dataAddress = root
    const dataEnd = instance.exports[dataEndExport] as WebAssembly.Global
    dataEnd.value = end
    this.#heap = new PolicyHeap(instance, memory, end, policy.baseHeapPtr)
  }

  /** Steps of the last evaluation, however it ended. */
  get lastSteps(): number {
    return this.#lastSteps
  }

  /** Bytes of memory that the data takes. */
  get dataBytes(): number {
    return this.#heap.start - this.#dataStart
  }

  /** Bytes of WebAssembly memory held. */
  get memoryBytes(): number {
    return this.#memory.size
  }

  /**
   * @param entrypoint from `entrypoints`
   * @param input JSON text; undefined: `input` is undefined in the policy
   * @param timeMs the instant of the evaluation
   * @param strict built-in errors end the evaluation rather than make an expression undefined
   * @param answers what functions answered before whose answer varies; default: they are asked
   * @throws PdpError ERR_STEPS_EXHAUSTED, ERR_MEMORY_EXHAUSTED, ERR_STACK_EXHAUSTED, ERR_BUILTIN_FAILED,
   * ERR_EVALUATION_FAILED; the instance is usable afterwards
   */
  evaluate(entrypoint: number, input: string | undefined, timeMs: number, strict = false, answers?: CallAnswers): Evaluation {
    const { resultSet, steps } = this.query(entrypoint, input, timeMs, strict, answers)
    return { result: readResultSet(resultSet), steps, nd: this.#calls.notes }
  }

  /**
   * As evaluate, for a module that was compiled from a query.
   * @returns the result set as JSON text: an array with an object of the query's variables for each answer
   */
  query(
    entrypoint: number,
    input: string | undefined,
    timeMs: number,
    strict = false,
    answers?: CallAnswers,
  ): { readonly resultSet: string; readonly steps: number } {
    this.#setStrict(strict)
    this.#steps.value = this.#limits.maxSteps
    this.#calls.begin({ timeMs, strict, answers, charge: this.#charge })
    try {
      const inputBytes = input === undefined ? 0 : this.#writeInput(input)
      const heap = align(this.#heap.start + inputBytes)
      const inputAddress = input === undefined ? 0 : this.#heap.start
      const address = this.#exports.opa_eval(0, entrypoint, this.#dataAddress, inputAddress, inputBytes, heap, 0)
      this.#lastSteps = this.#limits.maxSteps - this.#steps.value
      return { resultSet: this.#memory.readString(address), steps: this.#lastSteps }
    } catch (thrown) {
      this.#lastSteps = this.#limits.maxSteps - this.#steps.value
      const exhausted = this.#steps.value === 0
      this.#steps.value = setupSteps
      this.#heap.restore()
      this.#isStrict = undefined
      throw this.#toError(thrown, exhausted)
    }
  }

  /**
   * Changes one path of the data in place; the next evaluation sees it. Microseconds, however much data there is.
   * @param path keys from the root, at least one; objects on the way are made where they are missing
   * @param json the value's text, that JSON.parse accepts; undefined: what is there goes, and nothing where nothing is
   * @throws PdpError ERR_BUNDLE_DATA, ERR_MEMORY_EXHAUSTED; the instance is usable afterwards
   */
  patchData(path: readonly string[], json: string | undefined): void {
    this.#steps.value = setupSteps
    patchData(this.#exports, this.#memory, this.#heap, this.#dataAddress, path, json)
  }

  #toError(thrown: unknown, exhausted: boolean): PdpError {
    if (thrown instanceof PdpError) return thrown
    if (exhausted) return this.#stepsExhausted()
    if (thrown instanceof RangeError && !thrown.message.includes('memory')) {
      return new PdpError('ERR_STACK_EXHAUSTED', 'the evaluation recursed too deeply', { cause: thrown })
    }
    return new PdpError('ERR_EVALUATION_FAILED', 'the evaluation failed', { cause: thrown })
  }

  /** Writing to a global takes longer than looking what it is. */
  #setStrict(strict: boolean): void {
    if (this.#isStrict !== strict) this.#strict.value = strict ? 1 : 0
    this.#isStrict = strict
  }

  #writeInput(input: string): number {
    this.#heap.reserve(input.length * 3)
    return this.#memory.bytes().write(input, this.#heap.start, 'utf8')
  }

  readonly #charge = (steps: number): void => {
    const left = (this.#steps.value as number) - steps
    this.#steps.value = Math.max(left, 0)
    if (left < 0) throw this.#stepsExhausted()
  }

  #stepsExhausted(): PdpError {
    return new PdpError('ERR_STEPS_EXHAUSTED', `the evaluation used up its budget of \`${this.#limits.maxSteps}\` steps`)
  }

  #imports(memory: WebAssembly.Memory): WebAssembly.ModuleImports {
    const call = (id: number, _context: number, ...args: number[]) => this.#calls.call(id, args)
    return {
      memory,
      opa_abort: (address: number) => {
        const message = this.#memory.readString(address)
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
}

/** From `[]` or `[{"result":…}]` to the value. */
function readResultSet(text: string): string | undefined {
  if (text === '[]') return undefined
  if (!text.startsWith('[{"result":') || !text.endsWith('}]')) {
    throw new PdpError('ERR_EVALUATION_FAILED', 'the policy returned something other than one result')
  }
  return text.slice('[{"result":'.length, -2)
}
