// What the service knows of bundles across restarts: revisions with the report of their checks, approvals, activations, and an
// append-only table of every act. Archives lie beside the database, by digest. Whatever moment the process dies at, a revision is
// there whole or not at all: its archive is on disk before its row, and each change is one transaction with its act.
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { open, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { PdpError } from '../errors.ts'

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
  /** Who signed it, as JSON text; empty: nobody. */
  readonly signed: string
  /** Approvals that it needs beside the pusher. */
  readonly needed: number
  readonly approvedBy: readonly string[]
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
  | 'activated'
  | 'rolled_back'
  | 'patched'
  | 'interrupted'
  | 'removed'
  | 'shadow_started'
  | 'shadow_ended'

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
  pushed_at INTEGER NOT NULL, status TEXT NOT NULL, bytes INTEGER NOT NULL, report TEXT NOT NULL DEFAULT '', signed TEXT NOT NULL DEFAULT '', needed INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (name, digest)
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
  /** Who signed it, as JSON text; absent: nobody. */
  readonly signed?: string | undefined
  /** Signed number that only goes up; absent: there is none. */
  readonly sequence?: number | undefined
}

export class BundleStore {
  readonly #database: DatabaseSync
  readonly #folder: string
  readonly #logFile: string
  readonly #now: () => number
  readonly #listeners = new Set<() => void>()

  /**
   * @param folder of the archives
   * @param logFile SQLite's write-ahead log of the database
   */
  constructor(database: DatabaseSync, folder: string, logFile: string, now: () => number = Date.now) {
    this.#database = database
    this.#folder = folder
    this.#logFile = logFile
    this.#now = now
    database.exec(schema)
    this.#inOne(() => {
      for (const { name, digest } of this.#all("SELECT name, digest FROM revision WHERE status = 'checking'")) {
        this.#run("UPDATE revision SET status = 'interrupted' WHERE name = ? AND digest = ?", name, digest)
        this.#note('service', 'interrupted', name as string, digest as string, 0, 'the service ended while it was checked')
      }
    })
    this.#dropStrays()
  }

  /** The bundles that were active when the service last ran. */
  activeBundles(): StoredBundle[] {
    return this.#all('SELECT name, digest, epoch FROM active_bundle ORDER BY name') as unknown as StoredBundle[]
  }

  /** @throws PdpError ERR_STATE_UNUSABLE when the file is gone */
  readArchive(digest: string): Buffer {
    try {
      return readFileSync(this.#archivePath(digest))
    } catch (cause) {
      throw new PdpError('ERR_STATE_UNUSABLE', `the archive \`${digest}\` is missing from the state folder`, { cause })
    }
  }

  /** Keeps an archive; it is on disk when this resolves. Syncing takes milliseconds, which no request should wait for. */
  async keepArchive(digest: string, archive: Buffer): Promise<void> {
    const path = this.#archivePath(digest)
    if (existsSync(path)) return
    const temporary = `${path}.${process.pid}`
    await writeFile(temporary, archive, { mode: 0o600, flush: true })
    await rename(temporary, path)
    const folder = await open(this.#folder, 'r')
    await folder.sync()
    await folder.close()
  }

  /** What was noted is on disk when this resolves; the process may die at any moment before without losing it, the machine not. */
  async sync(): Promise<void> {
    const log = await open(this.#logFile, 'r+')
    await log.datasync()
    await log.close()
  }

  /** Notes that a revision came, its archive kept already, before it is checked. One that is known is checked anew; its approvals are void. */
  addRevision({ name, digest, revision, origin, actor, bytes, signed = '', sequence }: NewRevision): void {
    this.#inOne(() => {
      if (sequence !== undefined) this.#raiseSequence(name, digest, sequence)
      this.#run('DELETE FROM approval WHERE name = ? AND digest = ?', name, digest)
      this.#run(
        "INSERT OR REPLACE INTO revision (name, digest, revision, origin, pushed_by, pushed_at, status, bytes, signed) VALUES (?, ?, ?, ?, ?, ?, 'checking', ?, ?)",
        name,
        digest,
        revision,
        origin,
        actor,
        this.#now(),
        bytes,
        signed,
      )
      this.#note(actor, 'pushed', name, digest, 0, `${origin}${revision === '' ? '' : `, revision ${revision}`}`)
    })
  }

  /** Notes what the gate found. */
  setChecked(name: string, digest: string, status: 'rejected' | 'held' | 'ready', needed: number, report: string, detail: string): void {
    this.#inOne(() => {
      this.#run(
        'UPDATE revision SET status = ?, needed = ?, report = ? WHERE name = ? AND digest = ?',
        status,
        needed,
        report,
        name,
        digest,
      )
      this.#note('service', 'checked', name, digest, 0, detail)
    })
  }

  /**
   * Notes an approval; with enough of them the revision is ready.
   * @throws PdpError ERR_FORBIDDEN for whoever pushed it, ERR_CONFLICT where there is nothing to approve
   */
  approve(name: string, digest: string, actor: string): StoredRevision {
    return this.#inOne(() => {
      const revision = this.getRevision(name, digest)
      if (revision.status !== 'held') {
        throw new PdpError(
          'ERR_CONFLICT',
          `the revision \`${digest}\` of \`${name}\` is \`${revision.status}\`: there is nothing to approve`,
        )
      }
      if (revision.pushedBy === actor) {
        throw new PdpError('ERR_FORBIDDEN', `\`${actor}\` pushed the revision, so somebody else has to approve it`)
      }
      if (revision.approvedBy.includes(actor)) throw new PdpError('ERR_CONFLICT', `\`${actor}\` has approved the revision already`)
      this.#run('INSERT INTO approval (name, digest, actor, at) VALUES (?, ?, ?, ?)', name, digest, actor, this.#now())
      const approvals = revision.approvedBy.length + 1
      if (approvals >= revision.needed) this.#run("UPDATE revision SET status = 'ready' WHERE name = ? AND digest = ?", name, digest)
      this.#note(actor, 'approved', name, digest, 0, `${approvals} of ${revision.needed}`)
      return this.getRevision(name, digest)
    })
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
        this.#run('DELETE FROM approval WHERE name = ? AND digest = ?', revision.name, revision.digest)
        this.#run('DELETE FROM revision WHERE name = ? AND digest = ?', revision.name, revision.digest)
        this.#note(actor, 'removed', revision.name, revision.digest, 0, '')
        found.push(revision)
      }
      return found
    })
    // Not all that no row knows: an archive that is being taken in has no row yet.
    for (const { digest } of removed) if (!this.#isKnown(digest)) rmSync(this.#archivePath(digest), { force: true })
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
      signed: row.signed as string,
      needed: row.needed as number,
      approvedBy: approvals.map(({ actor }) => actor as string),
    }
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

  /** Archives that no row knows: of pushes that were cut off. To be called before any is taken in. */
  #dropStrays(): void {
    const kept = new Set(
      this.#all('SELECT digest FROM revision UNION SELECT digest FROM active_bundle').map(({ digest }) => this.#archivePath(digest)),
    )
    for (const file of readdirSync(this.#folder)) {
      const path = join(this.#folder, file)
      if (!kept.has(path) && statSync(path).isFile()) rmSync(path)
    }
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

  #archivePath(digest: string): string {
    return join(this.#folder, `${digest.replace('sha256:', '')}.tar.gz`)
  }
}

type Value = string | number
// biome-ignore lint/suspicious/noExplicitAny: the columns of the schema above, whose types a query does not tell
type Row = Readonly<Record<string, any>>
