// What the service knows of bundles across restarts: revisions with the report of their checks, approvals, activations, and an
// append-only table of every act. Archives lie beside the database, by digest. Whatever moment the process dies at, a revision is
// there whole or not at all: its archive is on disk before its row, and each change is one transaction with its act.
import { open } from 'node:fs/promises'
import type { DatabaseSync } from 'node:sqlite'
import { PdpError } from '../errors.ts'
import { Archives } from './archives.ts'

/** `checking`: the gate is at work; `interrupted`: it was when the service ended; `held`: waits for approval. */
export type RevisionStatus = 'checking' | 'interrupted' | 'rejected' | 'held' | 'ready'

export interface StoredRevision {
  readonly name: string
  readonly digest: string
  /** The author's label. */
  readonly revision: string
  /** How it came: `push`, `pull`, `disk`, `patch`. */
  readonly origin: string
  readonly pushedBy: string
  readonly pushedAtMs: number
  readonly status: RevisionStatus
  /** Bytes of the archive. */
  readonly bytes: number
  /** Report of the gate as JSON text; empty before it ran. */
  readonly report: string
  /** Approvals that it needs beside the pusher. */
  readonly needed: number
  /** Different keys that must have signed it. */
  readonly neededSigners: number
  /** One for each key. */
  readonly signers: readonly StoredSigner[]
  readonly approvedBy: readonly string[]
}

/** Who signed a revision, in its archive or by an envelope. */
export interface StoredSigner {
  readonly keyId: string
  readonly algorithm: string
  /** Of the key. */
  readonly fingerprint: string
  readonly issuer: string | undefined
  readonly expiresAtMs: number | undefined
  /** Signed number that only goes up; undefined: there is none. */
  readonly sequence: number | undefined
}

/** What the gate says: what holds a revision back, if anything. */
export interface Checked {
  readonly isRejected: boolean
  readonly neededApprovals: number
  readonly neededSigners: number
  /** As JSON text. */
  readonly report: string
  /** The report in a few words. */
  readonly summary: string
}

/** What somebody did; `seq` counts up without gaps. */
export interface Act {
  readonly seq: number
  readonly atMs: number
  readonly actor: string
  readonly act: ActName
  readonly name: string
  readonly digest: string
  /** 0 where the act moves none. */
  readonly epoch: number
  readonly detail: string
}

export type ActName =
  | 'pushed'
  | 'checked'
  | 'approved'
  | 'signed'
  | 'activated'
  | 'rolled_back'
  | 'patched'
  | 'interrupted'
  | 'removed'
  | 'shadow_started'
  | 'shadow_ended'
  | 'revoked'
  | 'revocation_ended'
  | 'quarantined'
  | 'released'

/** A bundle as it was last activated. */
export interface StoredBundle {
  readonly name: string
  readonly digest: string
  readonly epoch: number
}

const schema = `
CREATE TABLE IF NOT EXISTS active_bundle (name TEXT PRIMARY KEY, digest TEXT NOT NULL, epoch INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS revision (
  name TEXT NOT NULL, digest TEXT NOT NULL, revision TEXT NOT NULL, origin TEXT NOT NULL, pushed_by TEXT NOT NULL,
  pushed_at INTEGER NOT NULL, status TEXT NOT NULL, bytes INTEGER NOT NULL, report TEXT NOT NULL DEFAULT '', needed INTEGER NOT NULL DEFAULT 0,
  needed_signers INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (name, digest)
) STRICT;
CREATE TABLE IF NOT EXISTS signer (
  name TEXT NOT NULL, digest TEXT NOT NULL, fingerprint TEXT NOT NULL, key_id TEXT NOT NULL, algorithm TEXT NOT NULL, issuer TEXT,
  expires_at INTEGER, sequence INTEGER, envelope TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (name, digest, fingerprint)
) STRICT;
CREATE TABLE IF NOT EXISTS approval (
  name TEXT NOT NULL, digest TEXT NOT NULL, actor TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (name, digest, actor)
) STRICT;
CREATE TABLE IF NOT EXISTS activation (
  name TEXT NOT NULL, epoch INTEGER NOT NULL, digest TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (name, epoch)
) STRICT;
CREATE TABLE IF NOT EXISTS sequence (name TEXT PRIMARY KEY, highest INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS act (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, actor TEXT NOT NULL, act TEXT NOT NULL, name TEXT NOT NULL,
  digest TEXT NOT NULL, epoch INTEGER NOT NULL, detail TEXT NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS act_is_not_changed BEFORE UPDATE ON act BEGIN SELECT RAISE(ABORT, 'acts are not changed'); END;
CREATE TRIGGER IF NOT EXISTS act_is_not_removed BEFORE DELETE ON act BEGIN SELECT RAISE(ABORT, 'acts are not removed'); END;
`

export interface NewRevision {
  readonly name: string
  readonly digest: string
  readonly revision: string
  readonly origin: string
  readonly actor: string
  /** Of the archive. */
  readonly bytes: number
  /** Who signed it in the archive; absent: nobody. */
  readonly signer?: StoredSigner | undefined
}

export class BundleStore {
  readonly #database: DatabaseSync
  readonly #archives: Archives
  readonly #logFile: string
  readonly #now: () => number
  readonly #listeners = new Set<() => void>()

  /**
   * @param folder of the archives
   * @param logFile SQLite's write-ahead log of the database
   */
  constructor(database: DatabaseSync, folder: string, logFile: string, now: () => number = Date.now) {
    this.#database = database
    this.#archives = new Archives(folder)
    this.#logFile = logFile
    this.#now = now
    database.exec(schema)
    // Folders of before there were signers.
    if (!this.#all('PRAGMA table_info(revision)').some(({ name }) => name === 'needed_signers'))
      database.exec('ALTER TABLE revision ADD COLUMN needed_signers INTEGER NOT NULL DEFAULT 0')
    this.#inOne(() => {
      for (const { name, digest } of this.#all("SELECT name, digest FROM revision WHERE status = 'checking'")) {
        this.#interrupt(name, digest, 'the service ended while it was checked')
      }
    })
    const known = this.#all('SELECT digest FROM revision UNION SELECT digest FROM active_bundle')
    this.#archives.keepOnly(known.map(({ digest }) => digest))
  }

  /** The bundles that were active when the service last ran. */
  activeBundles(): StoredBundle[] {
    return this.#all('SELECT name, digest, epoch FROM active_bundle ORDER BY name') as unknown as StoredBundle[]
  }

  /** @throws PdpError ERR_STATE_UNUSABLE when the file is gone */
  readArchive(digest: string): Buffer {
    return this.#archives.read(digest)
  }

  /** Keeps an archive; it is on disk when this resolves. */
  keepArchive(digest: string, archive: Buffer): Promise<void> {
    return this.#archives.keep(digest, archive)
  }

  /** What was noted is on disk when this resolves; the process may die at any moment before without losing it, the machine not. */
  async sync(): Promise<void> {
    const log = await open(this.#logFile, 'r+')
    await log.datasync()
    await log.close()
  }

  /** Notes that a revision came, its archive kept already, before it is checked. One that is known is checked anew; its approvals are void. */
  addRevision({ name, digest, revision, origin, actor, bytes, signer }: NewRevision): void {
    this.#inOne(() => {
      if (signer?.sequence !== undefined) this.#raiseSequence(name, digest, signer.sequence)
      this.#run('DELETE FROM approval WHERE name = ? AND digest = ?', name, digest)
      this.#run('DELETE FROM signer WHERE name = ? AND digest = ?', name, digest)
      if (signer !== undefined) this.#addSigner(name, digest, signer, '')
      this.#run(
        "INSERT OR REPLACE INTO revision (name, digest, revision, origin, pushed_by, pushed_at, status, bytes) VALUES (?, ?, ?, ?, ?, ?, 'checking', ?)",
        name,
        digest,
        revision,
        origin,
        actor,
        this.#now(),
        bytes,
      )
      this.#note(actor, 'pushed', name, digest, 0, `${origin}${revision === '' ? '' : `, revision ${revision}`}`)
    })
  }

  /** Notes what the gate found. @returns the revision: `rejected`, `held`, or `ready` where it waits for nobody */
  setChecked(name: string, digest: string, { isRejected, neededApprovals, neededSigners, report, summary }: Checked): StoredRevision {
    return this.#inOne(() => {
      this.#run(
        'UPDATE revision SET status = ?, needed = ?, needed_signers = ?, report = ? WHERE name = ? AND digest = ?',
        isRejected ? 'rejected' : 'held',
        neededApprovals,
        neededSigners,
        report,
        name,
        digest,
      )
      this.#note('service', 'checked', name, digest, 0, summary)
      return this.#settle(name, digest)
    })
  }

  /** Notes that the gate came to no end. */
  setInterrupted(name: string, digest: string, reason: string): void {
    this.#inOne(() => this.#interrupt(name, digest, reason))
  }

  /**
   * Notes further signers; with enough of them the revision is ready.
   * @param envelope by which they signed, JSON text
   * @throws PdpError ERR_BUNDLE_SIGNATURE where they all have signed already, ERR_CONFLICT where there is nothing to sign
   */
  addSigners(name: string, digest: string, signers: readonly StoredSigner[], envelope: string, actor: string): StoredRevision {
    return this.#inOne(() => {
      const known = new Set(this.#heldRevision(name, digest, 'sign').signers.map(({ fingerprint }) => fingerprint))
      const fresh = signers.filter(({ fingerprint }) => !known.has(fingerprint))
      // A threshold is of different keys: the same one again brings nothing nearer.
      if (fresh.length === 0) throw new PdpError('ERR_BUNDLE_SIGNATURE', `the key \`${signers[0]?.keyId}\` has signed the revision already`)
      for (const signer of fresh) this.#addSigner(name, digest, signer, envelope)
      this.#note(actor, 'signed', name, digest, 0, `by ${fresh.map(({ keyId }) => keyId).join(', ')}`)
      return this.#settle(name, digest)
    })
  }

  /**
   * Notes an approval; with enough of them the revision is ready.
   * @throws PdpError ERR_FORBIDDEN for whoever pushed it, ERR_CONFLICT where there is nothing to approve
   */
  approve(name: string, digest: string, actor: string): StoredRevision {
    return this.#inOne(() => {
      const revision = this.#heldRevision(name, digest, 'approve')
      if (revision.pushedBy === actor) {
        throw new PdpError('ERR_FORBIDDEN', `\`${actor}\` pushed the revision, so somebody else has to approve it`)
      }
      if (revision.approvedBy.includes(actor)) throw new PdpError('ERR_CONFLICT', `\`${actor}\` has approved the revision already`)
      this.#run('INSERT INTO approval (name, digest, actor, at) VALUES (?, ?, ?, ?)', name, digest, actor, this.#now())
      this.#note(actor, 'approved', name, digest, 0, `${revision.approvedBy.length + 1} of ${revision.needed}`)
      return this.#settle(name, digest)
    })
  }

  /** @throws PdpError ERR_UNKNOWN_REVISION, ERR_CONFLICT */
  #heldRevision(name: string, digest: string, act: 'approve' | 'sign'): StoredRevision {
    const revision = this.getRevision(name, digest)
    if (revision.status === 'held') return revision
    throw new PdpError('ERR_CONFLICT', `the revision \`${digest}\` of \`${name}\` is \`${revision.status}\`: there is nothing to ${act}`)
  }

  /** What is held and waits for nobody any longer is ready. */
  #settle(name: string, digest: string): StoredRevision {
    const { status, approvedBy, needed, signers, neededSigners } = this.getRevision(name, digest)
    if (status === 'held' && approvedBy.length >= needed && signers.length >= neededSigners)
      this.#run("UPDATE revision SET status = 'ready' WHERE name = ? AND digest = ?", name, digest)
    return this.getRevision(name, digest)
  }

  #addSigner(name: string, digest: string, signer: StoredSigner, envelope: string): void {
    const { fingerprint, keyId, algorithm, issuer = null, expiresAtMs = null, sequence = null } = signer
    const values = [name, digest, fingerprint, keyId, algorithm, issuer, expiresAtMs, sequence, envelope, this.#now()]
    this.#run('INSERT INTO signer VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)', ...values)
  }

  #interrupt(name: string, digest: string, reason: string): void {
    this.#run("UPDATE revision SET status = 'interrupted' WHERE name = ? AND digest = ?", name, digest)
    this.#note('service', 'interrupted', name, digest, 0, reason)
  }

  /**
   * Notes an activation.
   * @returns its epoch. The same archive again, as after a restart, keeps its epoch; every other one counts up.
   */
  recordActivation(name: string, digest: string, actor = 'service', act: ActName = 'activated'): number {
    return this.#inOne(() => {
      const previous = this.active(name)
      if (previous?.digest === digest) return previous.epoch
      const epoch = (previous?.epoch ?? 0) + 1
      this.#run('INSERT OR REPLACE INTO active_bundle (name, digest, epoch) VALUES (?, ?, ?)', name, digest, epoch)
      this.#run('INSERT INTO activation (name, epoch, digest, at) VALUES (?, ?, ?, ?)', name, epoch, digest, this.#now())
      this.#note(actor, act, name, digest, epoch, previous === undefined ? '' : `in place of ${previous.digest}`)
      return epoch
    })
  }

  /**
   * Does something beside an act about it, both or neither.
   * @param detailOf of the act, from what was done
   */
  noteWith<T>(actor: string, act: ActName, work: () => T, detailOf: (done: T) => string): T {
    return this.#inOne(() => {
      const done = work()
      this.#note(actor, act, '', '', 0, detailOf(done))
      return done
    })
  }

  /** Notes an act that changes nothing that is kept. */
  note(actor: string, act: ActName, name: string, digest: string): void {
    this.#inOne(() => this.#note(actor, act, name, digest, 0, ''))
  }

  active(name: string): StoredBundle | undefined {
    return this.#all('SELECT name, digest, epoch FROM active_bundle WHERE name = ?', name)[0] as StoredBundle | undefined
  }

  /** The digest that was active before the one that is, undefined where there was none. */
  previous(name: string): string | undefined {
    const now = this.active(name)
    const rows = this.#all(
      'SELECT digest FROM activation WHERE name = ? AND digest <> ? ORDER BY epoch DESC LIMIT 1',
      name,
      now?.digest ?? '',
    )
    return rows[0]?.digest as string | undefined
  }

  /** Whether a revision came over the network, and so is nowhere else. */
  wasPushed(name: string, digest: string): boolean {
    return this.#all("SELECT 1 FROM revision WHERE name = ? AND digest = ? AND origin <> 'disk'", name, digest).length > 0
  }

  /** Newest first. @param name undefined: of all bundles */
  listRevisions(name?: string): StoredRevision[] {
    const where = name === undefined ? '' : 'WHERE name = ?'
    const rows = this.#all(`SELECT * FROM revision ${where} ORDER BY pushed_at DESC, rowid DESC`, ...(name === undefined ? [] : [name]))
    return rows.map((row) => this.#toRevision(row))
  }

  /** @throws PdpError ERR_UNKNOWN_REVISION */
  getRevision(name: string, digest: string): StoredRevision {
    const row = this.#all('SELECT * FROM revision WHERE name = ? AND digest = ?', name, digest)[0]
    if (row === undefined) throw new PdpError('ERR_UNKNOWN_REVISION', `the bundle \`${name}\` has no revision \`${digest}\``)
    return this.#toRevision(row)
  }

  /** @param listener told that there may be new acts @returns ends that */
  onAct(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Acts behind a number, oldest first. */
  acts(afterSeq: number, limit: number, name?: string): Act[] {
    const rows =
      name === undefined
        ? this.#all('SELECT * FROM act WHERE seq > ? ORDER BY seq LIMIT ?', afterSeq, limit)
        : this.#all('SELECT * FROM act WHERE seq > ? AND name = ? ORDER BY seq LIMIT ?', afterSeq, name, limit)
    return rows.map(({ at, ...row }) => ({ ...row, atMs: at })) as unknown as Act[]
  }

  /**
   * Removes revisions that are neither active nor the way back, the oldest first.
   * @param keep revisions of each bundle that stay
   * @returns what was removed
   */
  collect(keep: number, maxAgeMs: number, actor: string): StoredRevision[] {
    const removed = this.#inOne(() => {
      const found: StoredRevision[] = []
      const kept = new Map<string, number>()
      for (const revision of this.listRevisions()) {
        const count = (kept.get(revision.name) ?? 0) + 1
        kept.set(revision.name, count)
        const isNeeded = this.active(revision.name)?.digest === revision.digest || this.previous(revision.name) === revision.digest
        const isOld = count > keep || this.#now() - revision.pushedAtMs > maxAgeMs
        if (isNeeded || !isOld || revision.status === 'checking') continue
        for (const table of ['approval', 'signer'])
          this.#run(`DELETE FROM ${table} WHERE name = ? AND digest = ?`, revision.name, revision.digest)
        this.#run('DELETE FROM revision WHERE name = ? AND digest = ?', revision.name, revision.digest)
        this.#note(actor, 'removed', revision.name, revision.digest, 0, '')
        found.push(revision)
      }
      return found
    })
    // Not all that no row knows: an archive that is being taken in has no row yet.
    for (const { digest } of removed) if (!this.#isKnown(digest)) this.#archives.remove(digest)
    return removed
  }

  #toRevision(row: Row): StoredRevision {
    const approvals = this.#all('SELECT actor FROM approval WHERE name = ? AND digest = ? ORDER BY at, actor', row.name, row.digest)
    return {
      name: row.name as string,
      digest: row.digest as string,
      revision: row.revision as string,
      origin: row.origin as string,
      pushedBy: row.pushed_by as string,
      pushedAtMs: row.pushed_at as number,
      status: row.status as RevisionStatus,
      bytes: row.bytes as number,
      report: row.report as string,
      needed: row.needed as number,
      neededSigners: row.needed_signers as number,
      signers: this.#signersOf(row.name as string, row.digest as string),
      approvedBy: approvals.map(({ actor }) => actor as string),
    }
  }

  #signersOf(name: string, digest: string): StoredSigner[] {
    const rows = this.#all('SELECT * FROM signer WHERE name = ? AND digest = ? ORDER BY at, key_id', name, digest)
    return rows.map(({ key_id, algorithm, fingerprint, issuer, expires_at, sequence }) => ({
      keyId: key_id,
      algorithm,
      fingerprint,
      issuer: issuer ?? undefined,
      expiresAtMs: expires_at ?? undefined,
      sequence: sequence ?? undefined,
    }))
  }

  /** An older bundle stays refused even when what came after it is gone. */
  #raiseSequence(name: string, digest: string, sequence: number): void {
    const highest = this.#all('SELECT highest FROM sequence WHERE name = ?', name)[0]?.highest as number | undefined
    const isKnown = this.#all('SELECT 1 FROM revision WHERE name = ? AND digest = ?', name, digest).length > 0
    if (highest !== undefined && sequence <= highest && !isKnown) {
      throw new PdpError(
        'ERR_BUNDLE_ROLLBACK',
        `the bundle has the signed sequence number \`${sequence}\`, and \`${highest}\` was here before: to go back, roll back`,
      )
    }
    this.#run('INSERT OR REPLACE INTO sequence (name, highest) VALUES (?, ?)', name, Math.max(highest ?? 0, sequence))
  }

  #isKnown(digest: string): boolean {
    return (
      this.#all('SELECT 1 FROM revision WHERE digest = ? UNION SELECT 1 FROM active_bundle WHERE digest = ?', digest, digest).length > 0
    )
  }

  #note(actor: string, act: ActName, name: string, digest: string, epoch: number, detail: string): void {
    const values = [this.#now(), actor, act, name, digest, epoch, detail]
    this.#run('INSERT INTO act (at, actor, act, name, digest, epoch, detail) VALUES (?, ?, ?, ?, ?, ?, ?)', ...values)
  }

  #inOne<T>(work: () => T): T {
    this.#database.exec('BEGIN IMMEDIATE')
    try {
      const result = work()
      this.#database.exec('COMMIT')
      for (const listener of this.#listeners) listener()
      return result
    } catch (thrown) {
      this.#database.exec('ROLLBACK')
      throw thrown
    }
  }

  #all(sql: string, ...values: Value[]): Row[] {
    return this.#database.prepare(sql).all(...values) as Row[]
  }

  #run(sql: string, ...values: Value[]): void {
    this.#database.prepare(sql).run(...values)
  }
}

type Value = string | number | null
// biome-ignore lint/suspicious/noExplicitAny: the columns of the schema above, whose types a query does not tell
type Row = Readonly<Record<string, any>>
