// Calls that a running policy makes to the host: built-in functions that it does not bring along or cannot be trusted
// with, and what exact-runtime.ts adds. Each call is paid for in steps, by the size of what goes in and comes out.
import { PdpError } from '../errors.ts'
import type { BuiltinHost } from './builtin-host.ts'
import { chargeOf, refusalOf, stepsPerByte, stepsPerLookup } from './charges.ts'
import { nativeFunctions } from './native-functions.ts'
import type { OrderedKeys } from './ordered-keys.ts'
import { Patterns } from './patterns.ts'
import type { PolicyMemory } from './policy-memory.ts'
import { RememberedCalls } from './remembered-calls.ts'
import { hostCall } from './runtime-layout.ts'
import { type CallAnswers, CallNotes, varyingFunctions } from './varying-calls.ts'

/** What one evaluation sets for its calls. */
export interface CallContext {
  /** The instant of the evaluation. */
  readonly timeMs: number
  /** Errors of functions end the evaluation. */
  readonly strict: boolean
  /** What functions answered before whose answer varies; undefined: they are asked. */
  readonly answers?: CallAnswers | undefined
  /** Takes steps from the evaluation's budget. @throws PdpError ERR_STEPS_EXHAUSTED */
  charge(steps: number): void
}

/** Where print() and trace() go; undefined: nowhere. */
export type Printer = (text: string) => void

const regexMatch = idOf('regex.match')
const globMatch = idOf('glob.match')

function idOf(builtin: string): number {
  return hostCall.nativeBase + nativeFunctions.findIndex((native) => native.builtin === builtin)
}

const letter = { value: 0x56, string: 0x53, undefined: 0x55, error: 0x45, halt: 0x48, printed: 0x50 } as const

export class BuiltinCalls {
  readonly #host: BuiltinHost
  readonly #memory: PolicyMemory
  readonly #keys: OrderedKeys
  readonly #printer: Printer | undefined
  readonly #patterns: Patterns
  readonly #remembered = new RememberedCalls()
  readonly #notes = new CallNotes()
  #names: readonly string[] = []
  #context: CallContext | undefined
  #begun = false
  #true = 0
  #false = 0

  /** @param constantsEnd where the module's own data ends in memory */
  constructor(host: BuiltinHost, memory: PolicyMemory, keys: OrderedKeys, constantsEnd: number, printer: Printer | undefined) {
    this.#patterns = new Patterns(host, memory, constantsEnd)
    this.#host = host
    this.#memory = memory
    this.#keys = keys
    this.#printer = printer
  }

  /**
   * @param ids the module's own list of functions
   * @throws PdpError ERR_BUILTIN_MISSING
   */
  link(ids: Readonly<Record<string, number>>): void {
    const names: string[] = []
    for (const [name, id] of Object.entries(ids)) {
      if (!this.#host.names.has(name))
        throw new PdpError('ERR_BUILTIN_MISSING', `the policy needs the function \`${name}\`, which does not exist`)
      names[id] = name
    }
    this.#names = names
    // Made before evaluations, so that they stay.
    this.#true = this.#memory.makeBoolean(true)
    this.#false = this.#memory.makeBoolean(false)
    this.#host.warm()
  }

  begin(context: CallContext): void {
    this.#context = context
    this.#keys.reset()
    this.#begun = false
    this.#notes.reset()
  }

  /** What functions answered in this evaluation whose answer varies, as JSON text; undefined where none was called. */
  get notes(): string | undefined {
    return this.#notes.text
  }

  /** @returns the address of a value, or zero for undefined */
  call(id: number, args: readonly number[]): number {
    if (id >= hostCall.nextKey) this.#context?.charge(stepsPerLookup)
    if (id === hostCall.nextKey) return this.#keys.next(args[0] as number, args[1] as number)
    if (id === hostCall.nextMember) return this.#keys.next(args[0] as number, args[1] as number, true)
    if (id === hostCall.numberHash) return hashOfNumber(this.#memory.numberText(args[0] as number))
    if (id === hostCall.keyText) return this.#memory.makeCString(this.#memory.jsonKey(args[0] as number))
    const context = this.#context as CallContext
    const matched =
      id === regexMatch
        ? this.#patterns.regex(args, context.charge)
        : id === globMatch
          ? this.#patterns.glob(args, context.charge)
          : undefined
    if (matched !== undefined) return matched ? this.#true : this.#false
    const name = id >= hostCall.nativeBase ? nativeFunctions[id - hostCall.nativeBase]?.builtin : this.#names[id]
    if (name === undefined) throw new PdpError('ERR_POLICY_INVALID', `the policy calls the function \`${id}\`, which it does not list`)
    return this.#callFunction(name, args)
  }

  #askVarying(name: string, texts: readonly Uint8Array[]): Uint8Array {
    const known = this.#context?.answers?.find(name, texts)
    if (known !== undefined) return known
    const answer = this.#ask(name, texts, undefined)
    this.#notes.add(name, texts, answer)
    return answer
  }

  #askConstant(name: string, texts: readonly Uint8Array[]): Uint8Array {
    const key = this.#remembered.keyOf(name, texts)
    const known = key === undefined ? undefined : this.#remembered.get(key, nanoseconds(this.#context as CallContext))
    return known ?? this.#ask(name, texts, key)
  }

  #ask(name: string, texts: readonly Uint8Array[], key: string | undefined): Uint8Array {
    const timeNs = nanoseconds(this.#context as CallContext)
    if (!this.#begun) this.#host.begin(timeNs)
    this.#begun = true
    const answer = this.#host.call(name, texts)
    if (key !== undefined) this.#remembered.set(key, answer, timeNs)
    return answer
  }

  #callFunction(name: string, args: readonly number[]): number {
    const context = this.#context as CallContext
    if (name === 'internal.print' && this.#printer === undefined) return 0
    this.#keys.writing = 'rego'
    const texts = this.#memory.dump(args)
    this.#keys.writing = 'json'
    context.charge(chargeOf(name, texts))
    const refused = refusalOf(name, texts)
    if (refused !== undefined) throw new PdpError('ERR_BUILTIN_FAILED', `${name}: ${refused}`)
    if (name === 'trace') this.#printer?.(texts[0]?.toString() ?? '')
    const answer = varyingFunctions.has(name) ? this.#askVarying(name, texts) : this.#askConstant(name, texts)
    context.charge(answer.length * stepsPerByte)
    const body = answer.subarray(1)
    switch (answer[0]) {
      case letter.value:
        return this.#memory.parse(body)
      case letter.string:
        return this.#memory.makeString(body)
      case letter.printed:
        this.#printer?.(Buffer.from(body).toString())
        return 0
      case letter.undefined:
        return 0
      case letter.error:
        if (!context.strict) return 0
    }
    throw new PdpError('ERR_BUILTIN_FAILED', `${name}: ${Buffer.from(body).toString()}`)
  }
}

function nanoseconds({ timeMs }: CallContext): bigint {
  return BigInt(timeMs) * 1_000_000n
}

const scratch = new DataView(new ArrayBuffer(8))

/** The runtime's hash (FNV-1a, 32 bits) of a number's nearest double, so that equal numbers have equal hashes. */
function hashOfNumber(text: string): number {
  scratch.setFloat64(0, Number(text) + 0, true)
  let hash = 0x811c9dc5
  for (let i = 0; i < 8; i++) hash = Math.imul(hash, 0x01000193) ^ scratch.getUint8(i)
  return hash
}
