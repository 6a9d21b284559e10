// The Rego toolchain as the rest of Verdict sees it: typed operations, each run in a worker thread.
// Not the built-in functions of a running policy: those are called on the thread that evaluates (reactor.ts).
import type { Worker } from 'node:worker_threads'
import { elementsOf, membersOf } from '../decision/json-text.ts'
import type { FilterDemand } from '../decision/request.ts'
import { type Finding, PdpError, type PdpErrorCode } from '../errors.ts'
import { startThread } from '../threads.ts'
import type { WorkerMessage, WorkerRequest } from './worker.ts'

/** Rego modules by path; paths are relative to the folder or bundle that they come from. */
export interface RegoSources {
  readonly files: Readonly<Record<string, string>>
  /** 0 only where a bundle's manifest says so. Default 1. */
  readonly regoVersion?: 0 | 1 | undefined
  /** Allows keywords that OPA still calls experimental. Only queries take them. */
  readonly experimental?: boolean | undefined
}

/** What an entrypoint can depend on. A path is the leading constant part of a reference; [] is everything. */
export interface EntrypointReads {
  readonly input: readonly (readonly string[])[]
  readonly data: readonly (readonly string[])[]
  readonly builtins: readonly string[]
  readonly nondeterministic: readonly string[]
}

export interface BuiltEntrypoint {
  /** As in OPA's manifests: `package/rule`, segments percent-encoded. */
  readonly path: string
  readonly annotations?: readonly Readonly<Record<string, unknown>>[] | undefined
  readonly reads?: EntrypointReads | undefined
}

/** A type as OPA's capabilities write it. */
export interface RegoType {
  readonly type: 'any' | 'array' | 'boolean' | 'function' | 'null' | 'number' | 'object' | 'set' | 'string'
  /** Alternatives of `any`; the members of a `set`. */
  readonly of?: RegoType | readonly RegoType[]
  readonly static?: readonly (RegoType & { readonly key?: string; readonly value?: RegoType })[]
  readonly dynamic?: RegoType & { readonly key?: RegoType; readonly value?: RegoType }
}

/** @see OPA, v1/capabilities.json */
export interface BuiltinDeclaration {
  readonly name: string
  readonly decl: { readonly args?: readonly RegoType[]; readonly result?: RegoType }
  readonly infix?: string
  readonly relation?: boolean
  readonly deprecated?: boolean
  readonly nondeterministic?: boolean
}

export interface BuildResult {
  readonly wasm: Uint8Array
  readonly entrypoints: readonly BuiltEntrypoint[]
}

export interface RegoTestResult {
  readonly package: string
  readonly name: string
  readonly outcome: 'pass' | 'fail' | 'error' | 'skip'
  readonly duration_us: number
  readonly location?: Finding['location']
  readonly output?: string
  readonly error?: Finding
  readonly trace?: string
  readonly cases?: readonly { readonly name: string; readonly pass: boolean }[]
}

interface CoverageRange {
  readonly start: { readonly row: number; readonly col: number }
  readonly end: { readonly row: number; readonly col: number }
}

export interface Coverage {
  readonly files: Readonly<Record<string, { readonly not_covered?: readonly CoverageRange[]; readonly coverage?: number }>>
  readonly covered_lines: number
  readonly not_covered_lines: number
  /** Percent of lines, 0 to 100. */
  readonly coverage: number
}

export interface TestReport {
  readonly results: readonly RegoTestResult[]
  readonly coverage: Coverage
}

export interface EvalRequest extends RegoSources {
  /** JSON text; absent: no data. */
  readonly data?: string | undefined
  /** JSON text; absent: `input` is undefined. */
  readonly input?: string | undefined
  readonly entrypoint: string
  readonly strictBuiltinErrors?: boolean | undefined
  readonly explain?: 'notes' | 'fails' | 'full' | undefined
  readonly timeNs?: bigint | undefined
}

export interface FiltersRequest extends RegoSources {
  /** JSON text; absent: no data. */
  readonly data?: string | undefined
  /** JSON text; absent: `input` is undefined where it is known. */
  readonly input?: string | undefined
  /** Path of the rule, `package/rule`. */
  readonly path: string
  readonly demand: FilterDemand
}

export interface EvalResult {
  /** JSON text with OPA's numbers; undefined where the entrypoint is. */
  readonly result: string | undefined
  readonly trace: string | undefined
}

export interface BuildOptions {
  /** Leaves out what entrypoints read, for a build that is evaluated once and thrown away. */
  readonly skipReads?: boolean
  /**
   * How many rules that differ in constants a look-up must save to take their place; default: as many as make it
   * worth its time. `neverIndex`: all rules stay as they are.
   */
  readonly indexFrom?: number | undefined
}

export const neverIndex = 2 ** 31 - 1

interface Pending {
  resolve(answer: string): void
  reject(error: PdpError): void
}

export class Toolchain {
  #worker: Worker | undefined
  #loaded = Promise.withResolvers<{ module: WebAssembly.Module; sha256: string }>()
  #pending = new Map<number, Pending>()
  #nextId = 1

  /** The compiled module, for reactors on other threads. Starts the worker. */
  async module(): Promise<WebAssembly.Module> {
    this.#start()
    return (await this.#loaded.promise).module
  }

  /** SHA-256 of the toolchain in use, in hexadecimal. Starts the worker. */
  async sha256(): Promise<string> {
    this.#start()
    return (await this.#loaded.promise).sha256
  }

  /** OPA's version, and all built-in functions that a policy may call: their names, and their declarations in the same order. */
  async about(): Promise<{
    readonly opa: string
    readonly builtins: readonly string[]
    readonly declarations: readonly BuiltinDeclaration[]
  }> {
    return JSON.parse(await this.#run('about', 'null'))
  }

  /**
   * Compiles modules to one policy.wasm.
   * @param entrypoints beside those that `# METADATA` annotations mark
   * @throws PdpError ERR_REGO with findings that have file, row and column
   */
  async build(sources: RegoSources, entrypoints: readonly string[] = [], options: BuildOptions = {}): Promise<BuildResult> {
    const request = { ...wire(sources), entrypoints, skip_reads: options.skipReads, index_from: options.indexFrom }
    const answer = JSON.parse(await this.#run('build', JSON.stringify(request))) as {
      wasm: string
      entrypoints: BuiltEntrypoint[]
    }
    return { wasm: Buffer.from(answer.wasm, 'base64'), entrypoints: answer.entrypoints }
  }

  /**
   * Compiles one query with bindings to a policy.wasm of one entrypoint, `eval`.
   * @throws PdpError ERR_REGO with findings that have file, row and column
   */
  async buildQuery(sources: RegoSources, query: string): Promise<Uint8Array> {
    const { wasm } = JSON.parse(await this.#run('build', JSON.stringify({ ...wire(sources), query }))) as { wasm: string }
    return Buffer.from(wasm, 'base64')
  }

  /**
   * Compiles and type-checks modules.
   * @param inputSchema JSON Schema of `input`, as JSON text
   * @throws PdpError ERR_REGO with all findings
   */
  async check(sources: RegoSources, inputSchema?: string, strict = false): Promise<void> {
    await this.#run('check', withRaw({ ...wire(sources), strict }, { input_schema: inputSchema }))
  }

  /**
   * Formats modules.
   * @returns those whose text changes, with the new text
   * @throws PdpError ERR_REGO
   */
  async format(sources: RegoSources): Promise<Readonly<Record<string, string>>> {
    return JSON.parse(await this.#run('format', JSON.stringify(wire(sources))))
  }

  /**
   * Runs the tests among the modules.
   * @param data JSON text
   * @param run regular expression (RE2) on full names, `data.package.test_name`; empty: all
   * @param timeoutMs for each test, default 5,000
   * @throws PdpError ERR_REGO when the modules do not compile
   */
  async test(sources: RegoSources, data?: string, run = '', timeoutMs = 5_000): Promise<TestReport> {
    return JSON.parse(await this.#run('test', withRaw({ ...wire(sources), run, timeout_ms: timeoutMs }, { data })))
  }

  /**
   * Evaluates by OPA's own evaluator.
   * @throws PdpError ERR_REGO when compilation or evaluation fails
   */
  async eval(request: EvalRequest): Promise<EvalResult> {
    const answer = await this.#run('eval', withRaw(evalWire(request), { data: request.data, input: request.input }))
    const { defined, trace } = JSON.parse(answer) as { defined: boolean; trace?: string }
    return { result: defined ? membersOf(answer).get('result') : undefined, trace }
  }

  /**
   * As eval, the same question for several inputs; a failed evaluation is an error in its place.
   * @throws PdpError ERR_REGO when compilation fails
   */
  async evalAll(request: Omit<EvalRequest, 'input' | 'explain'>, inputs: readonly string[]): Promise<(EvalResult | PdpError)[]> {
    const answers = await this.#run('eval', withRaw(evalWire(request), { data: request.data, inputs: `[${inputs.join(',')}]` }))
    return elementsOf(answers).map((answer) => {
      const { defined, failures } = JSON.parse(answer) as { defined: boolean; failures?: Finding[] }
      if (failures !== undefined) return new PdpError('ERR_REGO', failures[0]?.message ?? '', { findings: failures })
      return { result: defined ? membersOf(answer).get('result') : undefined, trace: undefined }
    })
  }

  /**
   * What is left of a rule when a part of its input is unknown, as filters of data by OPA's partial evaluation.
   * @returns JSON text: for each target in order `{target, dialect, defined, query?, masks?}`
   * @throws PdpError ERR_REGO also where what is left cannot be said in a target's language
   */
  filters(request: FiltersRequest): Promise<string> {
    const { demand, path } = request
    const { targets, unknowns, maskRule, disableInlining, mappings } = demand
    const wired = { ...wire(request), path, targets, unknowns, mask_rule: maskRule, disable_inlining: disableInlining }
    return this.#run('filters', withRaw(wired, { data: request.data, input: request.input, mappings }))
  }

  /** YAML as OPA reads it, as JSON text. @throws PdpError ERR_REGO */
  yamlToJson(text: string): Promise<string> {
    return this.#run('yaml', JSON.stringify({ text }))
  }

  /** Ends the worker; operations that run fail with ERR_TOOLCHAIN. */
  async close(): Promise<void> {
    await this.#worker?.terminate()
  }

  async #run(op: string, request: string): Promise<string> {
    this.#start()
    const answer = await new Promise<string>((resolve, reject) => {
      const id = this.#nextId++
      this.#pending.set(id, { resolve, reject })
      this.#worker?.ref()
      this.#worker?.postMessage({ id, op, request } satisfies WorkerRequest)
    })
    if (answer.startsWith('{"ok":')) return answer.slice('{"ok":'.length, -1)
    const { failures } = JSON.parse(answer) as { failures: Finding[] }
    throw new PdpError('ERR_REGO', failures[0]?.message ?? 'the toolchain failed', { findings: failures })
  }

  #start(): void {
    if (this.#worker !== undefined) return
    const worker = startThread('./worker', import.meta.url)
    worker.on('message', (message: WorkerMessage) => this.#receive(message))
    worker.on('error', (cause) => this.#fail(new PdpError('ERR_TOOLCHAIN', `the toolchain stopped: ${cause.message}`, { cause })))
    worker.on('exit', () => this.#fail(new PdpError('ERR_TOOLCHAIN', 'the toolchain stopped')))
    this.#loaded.promise.catch(() => {})
    this.#worker = worker
  }

  #receive(message: WorkerMessage): void {
    if ('module' in message) {
      this.#loaded.resolve(message)
      this.#letGo()
      return
    }
    const pending = this.#pending.get(message.id)
    this.#pending.delete(message.id)
    this.#letGo()
    if ('answer' in message) pending?.resolve(message.answer)
    else pending?.reject(new PdpError(message.failure.code as PdpErrorCode, message.failure.message))
  }

  /** A worker that waits must not keep the process alive; one that loads or works must. */
  #letGo(): void {
    if (this.#pending.size === 0) this.#worker?.unref()
  }

  #fail(error: PdpError): void {
    if (this.#worker === undefined) return
    this.#worker = undefined
    this.#loaded.reject(error)
    this.#loaded = Promise.withResolvers()
    for (const { reject } of this.#pending.values()) reject(error)
    this.#pending.clear()
  }
}

function wire(sources: RegoSources): object {
  return { files: sources.files, rego_version: sources.regoVersion ?? 1, experimental: sources.experimental ?? false }
}

function evalWire(request: Omit<EvalRequest, 'input'>): object {
  return {
    ...wire(request),
    entrypoint: request.entrypoint,
    strict_builtin_errors: request.strictBuiltinErrors ?? false,
    explain: request.explain ?? '',
    time_ns: request.timeNs?.toString() ?? '',
  }
}

/** Adds members that are JSON text already, so that their numbers keep their digits. */
function withRaw(request: object, raw: Readonly<Record<string, string | undefined>>): string {
  let text = JSON.stringify(request).slice(0, -1)
  for (const [key, value] of Object.entries(raw)) if (value !== undefined) text += `,"${key}":${value}`
  return `${text}}`
}
