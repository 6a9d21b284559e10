// What those who keep answers are told, in the order in which it happened, for every protocol that has a stream: first where they are,
// then all that ends an answer. Who was isolated is told by a digest under a key of the stream, which says something only to those who
// know the name already. Who decides itself is told more: who it is itself, and who is isolated already.
import { createHmac, randomBytes } from 'node:crypto'
import type { Caller } from '../decision/request.ts'

export type ChangeInfo =
  | { readonly seq: number; readonly type: 'epoch'; readonly bundle: string; readonly epoch: number }
  | { readonly seq: number; readonly type: 'isolated'; readonly kind: string; readonly value?: string }

export interface ChangeFeed {
  /** Numbers are of this process alone. */
  readonly instance: string
  readonly last: number
  /** Undefined: not all of them are known any longer. */
  since(seq: number): readonly ChangeInfo[] | undefined
  subscribe(listener: (change: ChangeInfo) => void): () => void
}

export interface ChangeOptions {
  readonly changes: ChangeFeed
  readonly isolation: {
    /** Whether anything holds for a caller, or for the client that its token was given to. */
    isHeld(caller: Caller): boolean
    /** IDs of subjects that are isolated now. */
    subjects(): readonly string[]
  }
  readonly rules: DecidingRules
  readonly epochs: () => readonly { readonly name: string; readonly epoch: number }[]
}

interface BundleEpoch {
  readonly bundle: string
  readonly epoch: number
}

export type Told = { readonly id: string } & (
  | {
      readonly type: 'hello'
      readonly key: Buffer /** All that is kept has to go. */
      readonly reset: boolean
      readonly bundles: readonly BundleEpoch[]
      /** For those who decide themselves. */
      readonly decides?: Decides
    }
  | ({ readonly type: 'epoch' } & BundleEpoch)
  /** Of a token there is no digest. */
  | { readonly type: 'isolated'; readonly kind: string; readonly digest: Buffer | undefined }
)

export interface Decides {
  /** Who asks, as policies see it. */
  readonly caller: Caller
  /** Whether the caller itself is isolated. */
  readonly isHeld: boolean
  /** The first bytes of the digests of all subjects that are isolated; undefined: there are too many to tell. */
  readonly subjects: readonly Buffer[] | undefined
  readonly rules: DecidingRules
}

/** Of a digest that stands in a list: that somebody is taken for another one day does no harm, since the service is asked then. Bytes. */
const listedBytes = 8
/** Subjects in a list. */
const maxListed = 10_000

/** What of the configuration has a part in a decision. */
export interface DecidingRules {
  readonly trustedKey: string
  readonly maxSteps: number
  readonly maxMemoryBytes: number
  /** Longest time for which an answer holds. Milliseconds. */
  readonly maxAgeMs: number
}

export interface Follower {
  readonly caller: Caller
  /** Of what was told last, on another stream; empty: nothing was. */
  readonly lastId: string
  /** Whether it decides itself; else it keeps answers at most. */
  readonly isDecider: boolean
}

/** Longest time that a timer takes. */
const maxTimerMs = 2 ** 31 - 1

/** How often a stream says that it lives. Who hears nothing for some of them does not know any longer what holds. Milliseconds. */
export const beatMs = 1_000
/** Streams of one protocol at one time. */
export const maxStreams = 1_000

/**
 * @param stream.send told of everything, the first of it before this returns
 * @param stream.end to be ended, since the caller's token has expired: it has to come with another
 * @returns stops telling
 */
export function followChanges(
  { changes, epochs, isolation, rules }: ChangeOptions,
  { lastId, caller, isDecider }: Follower,
  { send, end }: { send(told: Told): void; end(): void },
): () => void {
  const [instance, seq = ''] = lastId.split('.')
  const missed = instance === changes.instance && /^\d{1,15}$/.test(seq) ? changes.since(Number(seq)) : undefined
  const key = randomBytes(32)
  const bundles = epochs().map(({ name, epoch }) => ({ bundle: name, epoch }))
  // First, so that whoever cannot go on where it was lets go before anything else is said.
  const id = `${changes.instance}.${missed === undefined ? changes.last : seq}`
  const decides = isDecider ? { caller, isHeld: isolation.isHeld(caller), subjects: listed(), rules } : undefined
  send({ id, type: 'hello', key, reset: missed === undefined, bundles, ...(decides !== undefined && { decides }) })
  for (const change of missed ?? []) tell(change)
  const unsubscribe = changes.subscribe(tell)
  const leftMs = caller.expiresAtMs === undefined ? undefined : Math.min(caller.expiresAtMs - Date.now(), maxTimerMs)
  const expiry = leftMs === undefined ? undefined : setTimeout(end, leftMs).unref()
  return () => {
    clearTimeout(expiry)
    unsubscribe()
  }

  function tell(change: ChangeInfo): void {
    const id = `${changes.instance}.${change.seq}`
    if (change.type === 'epoch') send({ id, type: 'epoch', bundle: change.bundle, epoch: change.epoch })
    else {
      const { kind, value } = change
      send({ id, type: 'isolated', kind, digest: value === undefined ? undefined : digestOf(value) })
    }
  }

  function listed(): Buffer[] | undefined {
    const subjects = isolation.subjects()
    return subjects.length > maxListed ? undefined : subjects.map((one) => digestOf(one).subarray(0, listedBytes))
  }

  function digestOf(value: string): Buffer {
    return createHmac('sha256', key).update(value).digest()
  }
}
