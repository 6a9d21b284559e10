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
const comma = Uint8Array.of(0x2c)

/** Answers one request of the network, as JSON text, and waits for it. */
export type Network = (request: Uint8Array) => Uint8Array

/** Beyond this an instance is replaced after a trap rather than restored: zeroing it would take longer. */
const maxRestoredBytes = 256 * 1024 * 1024

export class Reactor {
  readonly #module: WebAssembly.Module
  readonly #runtimeJson: string | undefined
  readonly #restorable: boolean
  readonly #network: Network | undefined
  #networkAnswer: Uint8Array = new Uint8Array()
  #exports!: ReactorExports
  #steps!: WebAssembly.Global
  #snapshot: Snapshot | undefined
  #stepsOfLastCall = 0

  /**
   * @param options.runtimeJson what opa.runtime() answers, as JSON text; default `{}`
   * @param options.restorable keep a copy of memory (23 MB), so that recovery from a trap takes milliseconds; default
   * false: a trapped instance is replaced, which takes some 100 ms
   * @param options.network answers what http.send and net.lookup_ip_addr ask; default: every such call fails
   */
  constructor(module: WebAssembly.Module, options: { runtimeJson?: string; restorable?: boolean; network?: Network | undefined } = {}) {
    this.#module = module
    this.#runtimeJson = options.runtimeJson
    this.#restorable = options.restorable ?? false
    this.#network = options.network
    this.#start()
  }

  #start(): void {
    // INVARIANT: no arguments, no environment, no folders: policies cannot reach the machine through WASI.
    const wasi = new WASI({ version: 'preview1', args: [], env: {}, preopens: {}, returnOnExit: true })
    const instance = new WebAssembly.Instance(this.#module, {
      ...(wasi.getImportObject() as WebAssembly.Imports),
      verdict: this.#networkImports(),
    })
    wasi.initialize(instance)
    this.#exports = instance.exports as unknown as ReactorExports
    this.#steps = stepsLeft(instance)
    if (this.#runtimeJson !== undefined) {
      this.#write([Buffer.from(this.#runtimeJson)])
      if (this.#exports.set_runtime() !== 0) throw new PdpError('ERR_TOOLCHAIN', 'opa.runtime() must be JSON')
    }
    this.#snapshot = this.#restorable ? takeSnapshot(instance, this.#exports.memory) : undefined
  }

  /** @see toolchain/network.go */
  #networkImports(): WebAssembly.ModuleImports {
    return {
      network_request: (address: number, length: number): number => {
        const request = new Uint8Array(this.#exports.memory.buffer).slice(address >>> 0, (address >>> 0) + length)
        this.#networkAnswer = this.#network?.(request) ?? new Uint8Array()
        return this.#networkAnswer.length
      },
      take_answer: (address: number): void => {
        new Uint8Array(this.#exports.memory.buffer).set(this.#networkAnswer, address >>> 0)
        this.#networkAnswer = new Uint8Array()
      },
    }
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
    return this.#call('run', [Buffer.from(`{"op":${JSON.stringify(op)},"request":${request}}`)], unlimited).toString()
  }

  /** Starts an evaluation at an instant; what built-ins remembered of the one before is gone. */
  begin(timeNs: bigint): void {
    this.#exports.begin(timeNs)
  }

  /**
   * Calls one built-in function.
   * @param args each in the form of toolchain/values.go
   * @param maxSteps bound on the function's own work
   * @returns a letter (V value, S string, U undefined, E error, H halt) and bytes, see toolchain/builtins.go; valid
   * until the next call
   * @throws PdpError ERR_BUILTIN_FAILED when the function ran out of steps or memory
   */
  builtin(name: string, args: readonly Uint8Array[], maxSteps: bigint): Uint8Array {
    const parts: Uint8Array[] = [Buffer.from(`${name}\0`, 'latin1')]
    for (let i = 0; i < args.length; i++) {
      if (i > 0) parts.push(comma)
      parts.push(args[i] as Uint8Array)
    }
    return this.#call('builtin', parts, maxSteps)
  }

  #write(parts: readonly Uint8Array[]): void {
    let length = 0
    for (const part of parts) length += part.length
    let address = this.#exports.alloc(length) >>> 0
    const memory = new Uint8Array(this.#exports.memory.buffer)
    for (const part of parts) {
      memory.set(part, address)
      address += part.length
    }
  }

  #call(entry: 'run' | 'builtin', request: readonly Uint8Array[], maxSteps: bigint): Buffer {
    try {
      this.#steps.value = unlimited
      this.#write(request)
      this.#steps.value = maxSteps
      const address = this.#exports[entry]() >>> 0
      this.#stepsOfLastCall = Number(maxSteps - (this.#steps.value as bigint))
      this.#steps.value = unlimited
      return Buffer.from(this.#exports.memory.buffer, address, this.#exports.outlen())
    } catch (cause) {
      const exhausted = this.#steps.value === 0n
      this.#recover()
      const code = entry === 'run' ? 'ERR_TOOLCHAIN' : 'ERR_BUILTIN_FAILED'
      throw new PdpError(code, exhausted ? 'the call took more steps than allowed' : 'the call failed inside the toolchain', { cause })
    }
  }

  /** Steps that the last call took; they differ a little from one call to the next, as Go's collector runs at times. */
  get stepsOfLastCall(): number {
    return this.#stepsOfLastCall
  }

  #recover(): void {
    this.#steps.value = unlimited
    if (this.#snapshot === undefined || this.memoryBytes > maxRestoredBytes) this.#start()
    else this.#snapshot.restore()
  }
}
