// What functions answered whose answer does not follow from their arguments and the clock: noted in one evaluation, kept with its
// record, given back when the record is asked again. Arguments are kept as hashes: they may hold credentials.
import { createHash } from 'node:crypto'
import { PdpError } from '../errors.ts'

/** OPA's functions that it marks so, without those that follow from the instant of the evaluation. */
export const varyingFunctions: ReadonlySet<string> = new Set([
  'http.send',
  'io.jwt.encode_sign',
  'io.jwt.encode_sign_raw',
  'net.lookup_ip_addr',
  'opa.runtime',
  'rand.intn',
  'uuid.rfc4122',
])

type Answers = Record<string, Record<string, string>>

/** What was answered in one evaluation. */
export class CallNotes {
  #answers: Answers | undefined

  reset(): void {
    this.#answers = undefined
  }

  /** @param args, answer as BuiltinHost has them */
  add(name: string, args: readonly Uint8Array[], answer: Uint8Array): void {
    this.#answers ??= {}
    this.#answers[name] ??= {}
    ;(this.#answers[name] as Record<string, string>)[keyOf(args)] = Buffer.from(answer).toString('utf8')
  }

  /** JSON text; undefined where no such function was called. */
  get text(): string | undefined {
    return this.#answers && JSON.stringify(this.#answers)
  }
}

/** What was answered before, for an evaluation that is to see it again. */
export class CallAnswers {
  readonly #answers: Answers
  #isMissing = false

  /** @param text of CallNotes; undefined: no such function was called */
  constructor(text: string | undefined) {
    this.#answers = text === undefined ? {} : JSON.parse(text)
  }

  /** Whether something was asked that had not been asked before, so that nothing follows from how the evaluation ended. */
  get isMissing(): boolean {
    return this.#isMissing
  }

  /** @throws PdpError ERR_BUILTIN_FAILED where there is no answer */
  find(name: string, args: readonly Uint8Array[]): Uint8Array {
    const key = keyOf(args)
    const ofName = Object.hasOwn(this.#answers, name) ? (this.#answers[name] as Record<string, string>) : {}
    const answer = Object.hasOwn(ofName, key) ? ofName[key] : undefined
    if (answer !== undefined) return Buffer.from(answer, 'utf8')
    this.#isMissing = true
    throw new PdpError('ERR_BUILTIN_FAILED', `${name}: the record has no answer to this call`)
  }
}

function keyOf(args: readonly Uint8Array[]): string {
  const hash = createHash('sha256')
  for (const arg of args) hash.update(`${arg.length}:`).update(arg)
  return hash.digest('base64url')
}
