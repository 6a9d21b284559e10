// The service's own folder: locked while it runs, with what must outlive a restart: the token of the local
// administrator, the counter of epochs and the last archive of each bundle that was good.
// The one owner of node:sqlite.
import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { PdpError } from '../errors.ts'

/** A bundle as it was last activated. */
export interface StoredBundle {
  readonly name: string
  readonly digest: string
  readonly epoch: number
}

const tokenFile = 'admin.token'

export class StateFolder {
  readonly path: string
  readonly #lock: DatabaseSync
  readonly #database: DatabaseSync

  /**
   * Opens and locks the folder; the lock ends with the process, however it ends.
   * @throws PdpError ERR_STATE_LOCKED when another service holds it, ERR_STATE_UNUSABLE
   */
  constructor(path: string) {
    this.path = path
    try {
      mkdirSync(join(path, 'bundles'), { recursive: true, mode: 0o700 })
      this.#lock = takeLock(path)
      this.#database = new DatabaseSync(join(path, 'state.db'))
      this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
      this.#database.exec(
        'CREATE TABLE IF NOT EXISTS active_bundle (name TEXT PRIMARY KEY, digest TEXT NOT NULL, epoch INTEGER NOT NULL) STRICT',
      )
    } catch (cause) {
      if (cause instanceof PdpError) throw cause
      throw new PdpError('ERR_STATE_UNUSABLE', `the state folder \`${path}\` cannot be used: ${(cause as Error).message}`, { cause })
    }
  }

  /** Where decision records go unless configured otherwise. */
  get decisionsFolder(): string {
    return join(this.path, 'decisions')
  }

  /** The token of the local administrator, made when it is missing; its file can be read by its owner only. */
  adminToken(): string {
    const path = join(this.path, tokenFile)
    if (!existsSync(path)) writeFileSync(path, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600, flag: 'wx' })
    chmodSync(path, 0o600)
    return readFileSync(path, 'utf8').trim()
  }

  /** The bundles that were active when the service last ran. */
  activeBundles(): StoredBundle[] {
    return this.#database.prepare('SELECT name, digest, epoch FROM active_bundle ORDER BY name').all() as unknown as StoredBundle[]
  }

  /** @throws PdpError ERR_STATE_UNUSABLE when the file is gone */
  readArchive(digest: string): Buffer {
    try {
      return readFileSync(this.#archivePath(digest))
    } catch (cause) {
      throw new PdpError('ERR_STATE_UNUSABLE', `the archive \`${digest}\` is missing from the state folder`, { cause })
    }
  }

  /**
   * Notes an activation.
   * @returns its epoch. The same archive again, as after a restart, keeps its epoch; every other one counts up.
   */
  recordActivation(name: string, digest: string, archive: Buffer): number {
    const previous = this.#database.prepare('SELECT digest, epoch FROM active_bundle WHERE name = ?').get(name) as StoredBundle | undefined
    if (!existsSync(this.#archivePath(digest))) {
      const temporary = `${this.#archivePath(digest)}.${process.pid}`
      writeFileSync(temporary, archive, { mode: 0o600, flush: true })
      renameSync(temporary, this.#archivePath(digest))
    }
    if (previous?.digest === digest) return previous.epoch
    const epoch = (previous?.epoch ?? 0) + 1
    this.#database.prepare('INSERT OR REPLACE INTO active_bundle (name, digest, epoch) VALUES (?, ?, ?)').run(name, digest, epoch)
    return epoch
  }

  close(): void {
    this.#database.close()
    this.#lock.close()
  }

  #archivePath(digest: string): string {
    return join(this.path, 'bundles', `${digest.replace('sha256:', '')}.tar.gz`)
  }
}

/** An exclusive transaction is a lock of the operating system, which releases it when the process dies. */
function takeLock(path: string): DatabaseSync {
  const lock = new DatabaseSync(join(path, 'lock.db'))
  try {
    lock.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE')
    return lock
  } catch (cause) {
    lock.close()
    if (/locked|busy/i.test((cause as Error).message)) {
      throw new PdpError(
        'ERR_STATE_LOCKED',
        `another service uses the state folder \`${path}\`: stop it, or give this one its own with --state`,
        { cause },
      )
    }
    throw cause
  }
}
