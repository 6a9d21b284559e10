// Decisions that may be given again, bounded in bytes, each caller's by itself: while there is room anybody may have it, and when there
// is none, whoever has most gives way, so that one caller cannot take the room of another. Not when a decision may be given again.
import { LRUCache } from 'lru-cache'
import type { Decision } from '../decision/decision.ts'

export interface StoredDecision {
  /** Of its question; the store finds by the hash of one, and two keys that share it displace each other. */
  readonly key: string
  readonly decision: Decision
  /** Of a clock that only goes forward; from then on it is not given. Milliseconds. */
  readonly expiresAt: number
  /** As expiresAt, for whoever gets it; may be earlier. */
  readonly answerUntil: number
}

/** Callers told apart; those beyond share one place. */
const maxCallers = 1_000
/** What an entry takes beside its texts. Bytes. */
const overhead = 400

type Share = LRUCache<number, StoredDecision>

export class DecisionStore {
  readonly #maxBytes: number
  readonly #shares = new Map<string, Share>()
  #bytes = 0

  /** @param maxBytes of all callers together */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Of keys and decisions. */
  get bytes(): number {
    return this.#bytes
  }

  get size(): number {
    let size = 0
    for (const share of this.#shares.values()) size += share.size
    return size
  }

  get(caller: string, hash: number): StoredDecision | undefined {
    return this.#shares.get(caller)?.get(hash) ?? (this.#shares.size >= maxCallers ? this.#shares.get('')?.get(hash) : undefined)
  }

  set(caller: string, hash: number, stored: StoredDecision): void {
    const share = this.#shareOf(caller)
    const before = share.calculatedSize
    share.set(hash, stored)
    this.#bytes += share.calculatedSize - before
    while (this.#bytes > this.#maxBytes) this.#giveWay(share)
  }

  #shareOf(caller: string): Share {
    const known = this.#shares.get(caller)
    if (known !== undefined) return known
    const name = this.#shares.size < maxCallers ? caller : ''
    let share = this.#shares.get(name)
    if (share === undefined) {
      share = new LRUCache<number, StoredDecision>({ maxSize: this.#maxBytes, sizeCalculation: sizeOf })
      this.#shares.set(name, share)
    }
    return share
  }

  /** Whoever adds gives way first, unless another has more. */
  #giveWay(adding: Share): void {
    let largest = adding
    if (adding.calculatedSize * this.#shares.size <= this.#maxBytes)
      for (const share of this.#shares.values()) if (share.calculatedSize > largest.calculatedSize) largest = share
    const before = largest.calculatedSize
    largest.pop()
    this.#bytes += largest.calculatedSize - before
  }
}

function sizeOf({ decision, key }: StoredDecision): number {
  const { reasons, obligations, context, result, trusted, nd } = decision
  let size = overhead + key.length
  for (const text of [reasons, obligations, context, result, trusted, nd]) size += text?.length ?? 0
  return size
}
