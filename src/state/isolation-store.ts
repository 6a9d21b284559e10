// Who and what was revoked or quarantined, across restarts: rows in SQLite, and the same in memory, since every decision asks. Each
// entry ends with its time; what has ended stays in the table for those who ask later.
import { randomUUID } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import { PdpError } from '../errors.ts'

export const isolationKinds = ['caller', 'client', 'subject', 'jti', 'kid', 'session', 'issued_before'] as const
/**
 * `caller`, `client`, `subject`: an identity; the others are of tokens: their ID, their key's, their session's, or all that a trust domain or an issuer
 * issued before a time.
 */
export type IsolationKind = (typeof isolationKinds)[number]

export interface IsolationEntry {
  readonly id: string
  readonly effect: 'revoked' | 'quarantined'
  readonly kind: IsolationKind
  /** The identity, or the name of the trust domain or issuer. */
  readonly value: string
  /** Of `issued_before`. Milliseconds since 1970. */
  readonly beforeMs: number | undefined
  readonly allowedActions: readonly string[]
  readonly reason: string
  readonly author: string
  readonly atMs: number
  /** Undefined: until somebody ends it. */
  readonly expiresAtMs: number | undefined
  readonly endedBy: string | undefined
  readonly endedAtMs: number | undefined
}

export type NewIsolation = Pick<
  IsolationEntry,
  'effect' | 'kind' | 'value' | 'beforeMs' | 'allowedActions' | 'reason' | 'author' | 'expiresAtMs'
>

/** What of a verified token can be revoked. */
export interface TokenFacts {
  /** Its trust domain or issuer. */
  readonly authority: string
  readonly jti: string | undefined
  readonly kid: string | undefined
  readonly session: string | undefined
  readonly issuedAtMs: number | undefined
}

const schema = `
CREATE TABLE IF NOT EXISTS isolation (
  id TEXT PRIMARY KEY, effect TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL, before INTEGER, actions TEXT NOT NULL,
  reason TEXT NOT NULL, author TEXT NOT NULL, at INTEGER NOT NULL, expires_at INTEGER, ended_by TEXT, ended_at INTEGER
) STRICT;
`
const maxEntries = 100_000

export class IsolationStore {
  readonly #database: DatabaseSync
  readonly #now: () => number
  /** Those that hold, by kind and value. */
  readonly #active = new Map<IsolationKind, Map<string, IsolationEntry[]>>(isolationKinds.map((kind) => [kind, new Map()]))
  #count = 0
  #onAdded: (entry: IsolationEntry) => void = () => {}

  constructor(database: DatabaseSync, now: () => number = Date.now) {
    this.#database = database
    this.#now = now
    database.exec(schema)
    this.reload()
  }

  /** Takes what holds from the table again, as after a transaction that failed. */
  reload(): void {
    for (const ofKind of this.#active.values()) ofKind.clear()
    this.#count = 0
    const rows = this.#database.prepare('SELECT * FROM isolation WHERE ended_at IS NULL AND (expires_at IS NULL OR expires_at > ?)')
    for (const row of rows.all(this.#now()) as Row[]) this.#keep(toEntry(row))
  }

  has(kind: IsolationKind): boolean {
    return this.#of(kind).size > 0
  }

  /** Values of a kind for which something may hold. */
  values(kind: IsolationKind): string[] {
    return [...this.#of(kind).keys()]
  }

  /** The strictest that holds for an identity. */
  find(kind: IsolationKind, value: string, nowMs: number): IsolationEntry | undefined {
    const holding = this.#of(kind)
      .get(value)
      ?.filter(({ expiresAtMs }) => expiresAtMs === undefined || nowMs < expiresAtMs)
    return (
      holding?.find(({ effect }) => effect === 'revoked') ??
      holding?.find(({ allowedActions }) => allowedActions.length === 0) ??
      holding?.[0]
    )
  }

  /** @returns why a token is revoked; undefined: it is not */
  findToken({ authority, jti, kid, session, issuedAtMs }: TokenFacts, nowMs: number): IsolationEntry | undefined {
    const byName = (kind: IsolationKind, value: string | undefined) => (value === undefined ? undefined : this.find(kind, value, nowMs))
    const found = byName('jti', jti) ?? byName('kid', kid) ?? byName('session', session)
    if (found !== undefined) return found
    // A token that does not say when it was issued may be as old as any.
    return this.#of('issued_before')
      .get(authority)
      ?.find((one) => (one.expiresAtMs === undefined || nowMs < one.expiresAtMs) && (issuedAtMs ?? 0) < (one.beforeMs ?? 0))
  }

  /** Newest first. */
  list(effect?: IsolationEntry['effect']): IsolationEntry[] {
    const rows = this.#database.prepare('SELECT * FROM isolation ORDER BY at DESC, rowid DESC LIMIT 10000').all() as Row[]
    return rows.map(toEntry).filter((entry) => effect === undefined || entry.effect === effect)
  }

  /** @throws PdpError ERR_OVERLOADED where there are too many; to be called within a transaction with its act */
  add(given: NewIsolation): IsolationEntry {
    if (this.#count >= maxEntries) this.#forgetExpired()
    if (this.#count >= maxEntries)
      throw new PdpError('ERR_OVERLOADED', `there are \`${maxEntries}\` entries already: end some, or let them expire`)
    const entry: IsolationEntry = { ...given, id: randomUUID(), atMs: this.#now(), endedBy: undefined, endedAtMs: undefined }
    const { id, effect, kind, value, beforeMs = null, allowedActions, reason, author, atMs, expiresAtMs = null } = entry
    this.#database
      .prepare('INSERT INTO isolation VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)')
      .run(id, effect, kind, value, beforeMs, JSON.stringify(allowedActions), reason, author, atMs, expiresAtMs)
    this.#keep(entry)
    this.#onAdded(entry)
    return entry
  }

  /** @param listener told of each entry, as soon as it holds */
  onAdded(listener: (entry: IsolationEntry) => void): void {
    this.#onAdded = listener
  }

  /**
   * @param byAnother whether the author may not end it
   * @throws PdpError ERR_NOT_FOUND; ERR_CONFLICT where it has ended; ERR_FORBIDDEN
   */
  end(id: string, effect: IsolationEntry['effect'], actor: string, byAnother: boolean): IsolationEntry {
    const row = this.#database.prepare('SELECT * FROM isolation WHERE id = ? AND effect = ?').get(id, effect) as Row | undefined
    if (row === undefined) throw new PdpError('ERR_NOT_FOUND', 'there is no such entry')
    const entry = toEntry(row)
    if (entry.endedAtMs !== undefined) throw new PdpError('ERR_CONFLICT', 'it has ended already')
    if (byAnother && entry.author === actor) throw new PdpError('ERR_FORBIDDEN', `\`${actor}\` began it, so somebody else has to end it`)
    const endedAtMs = this.#now()
    this.#database.prepare('UPDATE isolation SET ended_by = ?, ended_at = ? WHERE id = ?').run(actor, endedAtMs, id)
    this.#forget(entry)
    return { ...entry, endedBy: actor, endedAtMs }
  }

  #of(kind: IsolationKind): Map<string, IsolationEntry[]> {
    return this.#active.get(kind) as Map<string, IsolationEntry[]>
  }

  #keep(entry: IsolationEntry): void {
    if (entry.expiresAtMs !== undefined && this.#now() >= entry.expiresAtMs) return
    const ofKind = this.#of(entry.kind)
    ofKind.set(entry.value, [...(ofKind.get(entry.value) ?? []), entry])
    this.#count++
  }

  #forget({ kind, value, id }: IsolationEntry): void {
    const ofKind = this.#of(kind)
    const before = ofKind.get(value) ?? []
    const left = before.filter((one) => one.id !== id)
    this.#count -= before.length - left.length
    if (left.length === 0) ofKind.delete(value)
    else ofKind.set(value, left)
  }

  #forgetExpired(): void {
    const nowMs = this.#now()
    for (const ofKind of this.#active.values())
      for (const entries of [...ofKind.values()])
        for (const entry of entries) if (entry.expiresAtMs !== undefined && nowMs >= entry.expiresAtMs) this.#forget(entry)
  }
}

// biome-ignore lint/suspicious/noExplicitAny: the columns of the schema above, whose types a query does not tell
type Row = Readonly<Record<string, any>>

function toEntry({ id, effect, kind, value, before, actions, reason, author, at, expires_at, ended_by, ended_at }: Row): IsolationEntry {
  return {
    id,
    effect,
    kind,
    value,
    beforeMs: before ?? undefined,
    allowedActions: JSON.parse(actions),
    reason,
    author,
    atMs: at,
    expiresAtMs: expires_at ?? undefined,
    endedBy: ended_by ?? undefined,
    endedAtMs: ended_at ?? undefined,
  }
}
