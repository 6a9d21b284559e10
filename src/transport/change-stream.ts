// What those who keep answers are told, in the order in which it happened, for every protocol that has a stream: first where they are,
// then all that ends an answer. Who was isolated is told by a digest under a key of the stream, which says something only to those who
// know the name already.
import { createHmac, randomBytes } from 'node:crypto'

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
    }
  | ({ readonly type: 'epoch' } & BundleEpoch)
  /** Of a token there is no digest. */
  | { readonly type: 'isolated'; readonly kind: string; readonly digest: Buffer | undefined }
)

/** How often a stream says that it lives. Who hears nothing for some of them does not know any longer what holds. Milliseconds. */
export const beatMs = 1_000
/** Streams of one protocol at one time. */
export const maxStreams = 1_000

/**
 * @param lastId of what was told last, on another stream; empty: nothing was
 * @param send told of everything, the first of it before this returns
 * @returns ends it
 */
export function followChanges({ changes, epochs }: ChangeOptions, lastId: string, send: (told: Told) => void): () => void {
  const [instance, seq = ''] = lastId.split('.')
  const missed = instance === changes.instance && /^\d{1,15}$/.test(seq) ? changes.since(Number(seq)) : undefined
  const key = randomBytes(32)
  const bundles = epochs().map(({ name, epoch }) => ({ bundle: name, epoch }))
  // First, so that whoever cannot go on where it was lets go before anything else is said.
  send({ id: `${changes.instance}.${missed === undefined ? changes.last : seq}`, type: 'hello', key, reset: missed === undefined, bundles })
  for (const change of missed ?? []) tell(change)
  return changes.subscribe(tell)

  function tell(change: ChangeInfo): void {
    const id = `${changes.instance}.${change.seq}`
    if (change.type === 'epoch') send({ id, type: 'epoch', bundle: change.bundle, epoch: change.epoch })
    else {
      const { kind, value } = change
      send({ id, type: 'isolated', kind, digest: value === undefined ? undefined : createHmac('sha256', key).update(value).digest() })
    }
  }
}
