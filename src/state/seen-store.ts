// What counts once, and was seen: IDs of proofs and of tokens, kept across restarts until they would be refused for their age anyway. In
// SQLite alone, whose pages in memory are bounded; a row is a digest and a time.
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { PdpError } from '../errors.ts'

export interface SeenOptions {
  /** Milliseconds since 1970. */
  readonly now?: () => number
  /** Milliseconds that only go forward. */
  readonly elapsed?: () => number
  readonly maxEntries?: number
}

const schema = `
CREATE TABLE IF NOT EXISTS seen (digest BLOB PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_until ON seen (until);
`
/** Rows that one look at what is over removes at most, and how long until the next. */
const sweepRows = 2_000
const sweepMs = 1_000

export class SeenStore {
  readonly #insert: StatementSync
  readonly #sweep: StatementSync
  readonly #startedAtMs: number
  readonly #elapsed: () => number
  readonly #startedElapsed: number
  readonly #maxEntries: number
  #count: number
  #sweptAt = Number.NEGATIVE_INFINITY

  constructor(database: DatabaseSync, { now = Date.now, elapsed = () => performance.now(), maxEntries = 1_000_000 }: SeenOptions = {}) {
    database.exec(schema)
    this.#insert = database.prepare('INSERT OR IGNORE INTO seen VALUES (?, ?)')
    this.#sweep = database.prepare('DELETE FROM seen WHERE digest IN (SELECT digest FROM seen WHERE until <= ? LIMIT ?)')
    this.#startedAtMs = now()
    this.#elapsed = elapsed
    this.#startedElapsed = elapsed()
    this.#maxEntries = maxEntries
    this.#count = (database.prepare('SELECT count(*) AS n FROM seen').get() as { n: number }).n
  }

  /**
   * @param digest of what was seen, 32 bytes
   * @param untilMs when it would be refused anyway. Milliseconds since 1970
   * @returns whether it was not seen before
   * @throws PdpError ERR_OVERLOADED where as many are kept as may be: what cannot be remembered must not count
   */
  take(digest: Uint8Array, untilMs: number): boolean {
    const elapsed = this.#elapsed()
    if (this.#count >= this.#maxEntries || elapsed - this.#sweptAt >= sweepMs) this.#forget(elapsed)
    if (this.#count >= this.#maxEntries) throw new PdpError('ERR_OVERLOADED', 'too many proofs and tokens are remembered')
    const { changes } = this.#insert.run(digest, Math.ceil(untilMs))
    if (changes === 0) return false
    this.#count++
    return true
  }

  /** Not by the clock on the wall: if it is put forward and back again, what it was seen before must still be known. */
  #forget(elapsed: number): void {
    this.#sweptAt = elapsed
    const nowMs = this.#startedAtMs + (elapsed - this.#startedElapsed)
    this.#count -= Number(this.#sweep.run(nowMs, sweepRows).changes)
  }
}
