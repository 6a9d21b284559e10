// Answers of functions that take long and whose answer follows from their arguments: the verification of tokens, which
// come again with every request while they live. Remembered answers cost the same steps, so verdicts do not change.
import { LRUCache } from 'lru-cache'

/** What is remembered of a call: its answer, and for which instants of an evaluation it holds. */
interface Remembered {
  readonly answer: Uint8Array
  readonly fromNs: bigint
  readonly untilNs: bigint | null
}

/** Functions whose answer follows from their arguments alone. */
const pure: ReadonlySet<string> = new Set([
  'io.jwt.decode',
  ...['hs', 'rs', 'ps', 'es'].flatMap((family) => ['256', '384', '512'].map((bits) => `io.jwt.verify_${family}${bits}`)),
  'io.jwt.verify_eddsa',
])
/** Its answer follows from the arguments and the clock; what was verified holds until the token expires. */
const clocked = 'io.jwt.decode_verify'

const maxBytes = 8 * 2 ** 20
/** Longer arguments are no token and its key. */
const maxArgumentBytes = 16_384
const nsPerSecond = 1_000_000_000n

export class RememberedCalls {
  readonly #calls = new LRUCache<string, Remembered>({
    maxSize: maxBytes,
    sizeCalculation: ({ answer }, key) => answer.length + key.length + 100,
  })

  /** @returns the key of a call that may be remembered */
  keyOf(name: string, args: readonly Uint8Array[]): string | undefined {
    if (name !== clocked && !pure.has(name)) return undefined
    let key = name
    for (const arg of args) {
      if (arg.length > maxArgumentBytes) return undefined
      key += `\0${arg.length}\0${Buffer.from(arg.buffer, arg.byteOffset, arg.length).toString('latin1')}`
    }
    return key
  }

  get(key: string, timeNs: bigint): Uint8Array | undefined {
    const known = this.#calls.get(key)
    if (known === undefined || timeNs < known.fromNs || (known.untilNs !== null && timeNs >= known.untilNs)) return undefined
    return known.answer
  }

  /** @param answer as BuiltinHost gives it; copied */
  set(key: string, answer: Uint8Array, timeNs: bigint): void {
    const isClocked = key.startsWith(`${clocked}\0`)
    const untilNs = isClocked ? verifiedUntil(answer) : null
    if (untilNs !== undefined) this.#calls.set(key, { answer: Uint8Array.from(answer), fromNs: isClocked ? timeNs : 0n, untilNs })
  }
}

/**
 * Until when an answer of io.jwt.decode_verify holds: null for ever, undefined where it may not be remembered, since a
 * token that is refused now may be valid later.
 */
function verifiedUntil(answer: Uint8Array): bigint | null | undefined {
  const text = Buffer.from(answer.buffer, answer.byteOffset, answer.length).toString()
  if (!text.startsWith('V[true,')) return undefined
  try {
    const [, , payload] = JSON.parse(text.slice(1)) as [true, object, { exp?: unknown }]
    if (payload.exp === undefined) return null
    // A second early, so that no rounding of what OPA compares matters.
    return typeof payload.exp === 'number' && Number.isSafeInteger(Math.floor(payload.exp))
      ? (BigInt(Math.floor(payload.exp)) - 1n) * nsPerSecond
      : undefined
  } catch {
    // A value that is no JSON (a set, a key that is no string) is not what a token holds.
    return undefined
  }
}
