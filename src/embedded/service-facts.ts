// What the service has told of itself and of whom it isolated: whether a question may be answered here rests on it. Heard over the
// stream of changes; what is not heard any longer does not hold any longer.
import { createHmac } from 'node:crypto'
import { z } from 'zod'
import { callerSchema } from '../audit/record-schema.ts'
import { ChangeStream } from '../client/changes.ts'
import type { Way } from '../client/way.ts'
import type { Caller } from '../decision/request.ts'
import type { DecidingRules } from '../transport/change-stream.ts'

/** How the service decides. */
export type ServiceRules = DecidingRules

const bundleEpoch = z.object({ bundle: z.string(), epoch: z.int().min(1) })
const helloSchema = z.object({
  key: z.base64url(),
  bundles: z.array(bundleEpoch),
  caller: callerSchema,
  held: z.boolean(),
  subjects: z.base64url().nullable(),
  rules: z.object({ trusted_key: z.string(), max_steps: z.int(), max_memory_bytes: z.int(), max_age_ms: z.int() }),
})
const isolatedSchema = z.object({ kind: z.string(), digest: z.base64url().optional() })

/** Of a digest, as in the list of those who are isolated already. Bytes. */
const listedBytes = 8
const maxRemembered = 10_000

/** As one service told it, from one hello to the next. */
interface Told {
  readonly key: Buffer
  readonly caller: Caller
  readonly rules: ServiceRules
  /** Nothing may be decided here. */
  readonly isHeld: boolean
  /** The first bytes of digests. */
  readonly subjects: Set<string>
  /** By subject's ID; those that came lately. */
  readonly known: Map<string, string>
}

interface Announced {
  readonly epoch: number
  /** Milliseconds of a clock that only goes forward. */
  readonly at: number
}

export class ServiceFacts {
  readonly #stream: ChangeStream
  readonly #onNews: () => void
  readonly #onError: (error: Error) => void
  readonly #announced = new Map<string, Announced>()
  #told: Told | undefined
  #rules: ServiceRules | undefined

  /**
   * @param boundMs how long what was heard holds in silence
   * @param onNews told when there may be something new to get
   */
  constructor(way: Way, boundMs: number, onNews: () => void, onError: (error: Error) => void) {
    this.#onNews = onNews
    this.#onError = onError
    this.#stream = new ChangeStream(way, '/v1/changes?decides=1', boundMs, {
      lost: () => {
        this.#told = undefined
      },
      told: (name, data) => this.#take(name, data),
    })
  }

  /** Undefined: nothing is known that holds. */
  get rules(): ServiceRules | undefined {
    return this.#told?.rules
  }

  /** Who this process is to the service; undefined: nothing may be decided here now. */
  callerAt(now: number): Caller | undefined {
    const told = this.#told
    return told !== undefined && !told.isHeld && this.#stream.isHeard(now) ? told.caller : undefined
  }

  /** The bundle of questions that name none; undefined: the service has to say. */
  get onlyBundle(): string | undefined {
    if (this.#announced.size === 1) return this.#announced.keys().next().value
    return this.#announced.has('main') ? 'main' : undefined
  }

  announced(bundle: string): Announced | undefined {
    return this.#announced.get(bundle)
  }

  /** Whether somebody may be isolated: the service has to say. */
  mayBeIsolated(subjectId: string): boolean {
    const told = this.#told
    if (told === undefined) return true
    if (told.subjects.size === 0) return false
    let digest = told.known.get(subjectId)
    if (digest === undefined) {
      digest = createHmac('sha256', told.key).update(subjectId).digest().toString('latin1', 0, listedBytes)
      if (told.known.size >= maxRemembered) told.known.clear()
      told.known.set(subjectId, digest)
    }
    return told.subjects.has(digest)
  }

  close(): void {
    this.#stream.close()
    this.#told = undefined
  }

  #take(name: string, data: unknown): void {
    if (name === 'hello') this.#greet(data)
    else if (name === 'epoch') this.#announce(bundleEpoch.parse(data))
    else if (name === 'isolated') {
      const { kind, digest } = isolatedSchema.parse(data)
      if (kind === 'subject' && digest !== undefined && this.#told !== undefined) {
        this.#told.subjects.add(Buffer.from(digest, 'base64url').toString('latin1', 0, listedBytes))
        return
      }
      // That may be this process or its token: a new stream tells.
      this.#told = undefined
      this.#stream.restart()
    }
  }

  #greet(data: unknown): void {
    const parsed = helloSchema.safeParse(data)
    if (!parsed.success) {
      // A service of another version: all is asked of it.
      this.#told = undefined
      this.#onError(new Error(`the service tells what is not understood: ${z.prettifyError(parsed.error)}`))
      return
    }
    const { key, bundles, caller, held, subjects, rules } = parsed.data
    const { client_id: clientId, ...facts } = caller
    const listed = Buffer.from(subjects ?? '', 'base64url')
    const digests = new Set<string>()
    for (let at = 0; at + listedBytes <= listed.length; at += listedBytes) digests.add(listed.toString('latin1', at, at + listedBytes))
    this.#told = {
      key: Buffer.from(key, 'base64url'),
      caller: { ...facts, clientId },
      rules: this.#sameOr({
        trustedKey: rules.trusted_key,
        maxSteps: rules.max_steps,
        maxMemoryBytes: rules.max_memory_bytes,
        maxAgeMs: rules.max_age_ms,
      }),
      isHeld: held || subjects === null,
      subjects: digests,
      known: new Map(),
    }
    const there = new Set(bundles.map(({ bundle }) => bundle))
    for (const name of this.#announced.keys()) if (!there.has(name)) this.#announced.delete(name)
    for (const one of bundles) this.#announce(one)
    this.#onNews()
  }

  /** One object as long as the rules are the same: what was made for them holds on. */
  #sameOr(rules: ServiceRules): ServiceRules {
    if (JSON.stringify(this.#rules) !== JSON.stringify(rules)) this.#rules = rules
    return this.#rules ?? rules
  }

  #announce({ bundle, epoch }: { readonly bundle: string; readonly epoch: number }): void {
    if (this.#announced.get(bundle)?.epoch === epoch) return
    this.#announced.set(bundle, { epoch, at: performance.now() })
    this.#onNews()
  }
}
