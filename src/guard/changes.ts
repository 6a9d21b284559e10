// All that ends an answer that somebody keeps: a new epoch of a bundle, an identity or a token that was revoked or quarantined. Numbered,
// the newest kept, so that who lost the connection for a moment can go on; who was away longer has to let go of everything.
import { randomUUID } from 'node:crypto'

export type Change =
  | { readonly seq: number; readonly type: 'epoch'; readonly bundle: string; readonly epoch: number }
  /** `value` is for those who may see it: others get a digest. Absent where a token is meant. */
  | { readonly seq: number; readonly type: 'isolated'; readonly kind: 'caller' | 'client' | 'subject' | 'token'; readonly value?: string }

type NewChange = Change extends infer One ? (One extends Change ? Omit<One, 'seq'> : never) : never

const maxKept = 1_000

export class Changes {
  /** Numbers are of this process alone. */
  readonly instance = randomUUID()
  readonly #kept: Change[] = []
  readonly #listeners = new Set<(change: Change) => void>()
  #last = 0

  /** Number of the newest; 0: there was none. */
  get last(): number {
    return this.#last
  }

  add(change: NewChange): void {
    const numbered = { ...change, seq: ++this.#last } as Change
    this.#kept.push(numbered)
    if (this.#kept.length > maxKept) this.#kept.shift()
    for (const listener of this.#listeners) listener(numbered)
  }

  /** @returns those behind a number, oldest first; undefined: some of them are gone, or the number is none of this process */
  since(seq: number): readonly Change[] | undefined {
    const first = this.#kept[0]?.seq ?? this.#last + 1
    return seq > this.#last || seq < first - 1 ? undefined : this.#kept.filter((one) => one.seq > seq)
  }

  /** @returns ends it */
  subscribe(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }
}
