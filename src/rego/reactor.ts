// One running instance of the toolchain: operations as JSON, and built-in functions one call at a time.
// Synchronous, and it blocks its thread: operations belong into a worker (toolchain.ts), built-ins (a call takes
// some 50 µs) run where policies run. The module is metered, so a call without end stops.
import { WASI } from 'node:wasi'
import { PdpError } from '../errors.ts'
import { type Snapshot, stepsLeft, takeSnapshot } from '../wasm/snapshot.ts'

interface ReactorExports {
  memory: WebAssembly.Memory
  alloc(bytes: number): number
  outlen(): number
  run(): number
  builtin(): number
  begin(timeNs: bigint): void
  set_runtime(): number
}

const unlimited = 2n ** 63n - 1n

/** Beyond this an instance is replaced after a trap rather than restored: zeroing it would take longer. */
const maxRestoredBytes = 256 * 1024 * 1024

export class Reactor {
  readonly #module: WebAssembly.Module
  readonly #runtimeJson: string | undefined
  readonly #restorable: boolean
  #exports!: ReactorExports
  #steps!: WebAssembly.Global
  #snapshot: Snapshot | undefined

  /**
   * @param options.runtimeJson what opa.runtime() answers, as JSON text; default `{}`
   * @param options.restorable keep a copy of memory (23 MB), so that recovery from a trap takes milliseconds; default
   * false: a trapped instance is replaced, which takes some 100 ms
   */
  constructor(module: WebAssembly.Module, options: { runtimeJson?: string; restorable?: boolean } = {}) {
    this.#module = module
    this.#runtimeJson = options.runtimeJson
    this.#restorable = options.restorable ?? false
    this.#start()
  }

  #start(): void {
    // INVARIANT: no arguments, no environment, no folders: policies cannot reach the machine through WASI.
    const wasi = new WASI({ version: 'preview1', args: [], env: {}, preopens: {}, returnOnExit: true })
    const instance = new WebAssembly.Instance(this.#module, wasi.getImportObject() as WebAssembly.Imports)
    wasi.initialize(instance)
    this.#exports = instance.exports as unknown as ReactorExports
    this.#steps = stepsLeft(instance)
    if (this.#runtimeJson !== undefined) {
      this.#write(this.#runtimeJson)
      if (this.#exports.set_runtime() !== 0) throw new PdpError('ERR_TOOLCHAIN', 'opa.runtime() must be JSON')
    }
    this.#snapshot = this.#restorable ? takeSnapshot(instance, this.#exports.memory) : undefined
  }

  /** Bytes of memory that the instance holds. */
  get memoryBytes(): number {
    return this.#exports.memory.buffer.byteLength
  }

  /**
   * Runs one operation, for as long as it takes.
   * @param request the operation's request as JSON text
   * @returns JSON text, whose numbers keep their digits: `{"ok":…}` or `{"failures":[…]}`
   * @throws PdpError ERR_TOOLCHAIN when the instance trapped
   */
  run(op: string, request: string): string {
    return this.#call('run', `{"op":${JSON.stringify(op)},"request":${request}}`, unlimited)
  }

  /** Starts an evaluation at an instant; what built-ins remembered of the one before is gone. */
  begin(timeNs: bigint): void {
    this.#exports.begin(timeNs)
  }

  /**
   * Calls one built-in function.
   * @param args its arguments as one array in Rego's syntax
   * @param maxSteps bound on the function's own work
   * @returns a letter (V value, U undefined, E error, H halt) and a text, see toolchain/builtins.go
   * @throws PdpError ERR_BUILTIN_FAILED when the function ran out of steps or memory
   */
  builtin(name: string, args: string, maxSteps: bigint): string {
    return this.#call('builtin', `${name}\0${args}`, maxSteps)
  }

  #write(text: string): void {
    const bytes = Buffer.from(text, 'utf8')
    const address = this.#exports.alloc(bytes.length) >>> 0
    Buffer.from(this.#exports.memory.buffer).set(bytes, address)
  }

  #call(entry: 'run' | 'builtin', request: string, maxSteps: bigint): string {
    try {
      this.#steps.value = unlimited
      this.#write(request)
      this.#steps.value = maxSteps
      const address = this.#exports[entry]() >>> 0
      this.#steps.value = unlimited
      return Buffer.from(this.#exports.memory.buffer).toString('utf8', address, address + this.#exports.outlen())
    } catch (cause) {
      const exhausted = this.#steps.value === 0n
      this.#recover()
      const code = entry === 'run' ? 'ERR_TOOLCHAIN' : 'ERR_BUILTIN_FAILED'
      throw new PdpError(code, exhausted ? 'the call took more steps than allowed' : 'the call failed inside the toolchain', { cause })
    }
  }

  #recover(): void {
    this.#steps.value = unlimited
    if (this.#snapshot === undefined || this.memoryBytes > maxRestoredBytes) this.#start()
    else this.#snapshot.restore()
  }
}
