// The service's own folder: locked while it runs, with what must outlive a restart: the token of the local administrator, and
// what is known of bundles (bundle-store.ts).
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { PdpError } from '../errors.ts'
import { BundleStore } from './bundle-store.ts'
import { IsolationStore } from './isolation-store.ts'
import { SeenStore } from './seen-store.ts'

const tokenFile = 'admin.token'

export class StateFolder {
  readonly path: string
  readonly #lock: DatabaseSync
  readonly #database: DatabaseSync
  readonly bundles: BundleStore
  readonly isolations: IsolationStore
  readonly seen: SeenStore

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
      this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
      this.bundles = new BundleStore(this.#database, join(path, 'bundles'), join(path, 'state.db-wal'))
      this.isolations = new IsolationStore(this.#database)
      this.seen = new SeenStore(this.#database)
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

  /** The private key that signs checkpoints of the decision log, in PEM, made when it is missing; for its owner only. */
  logKey(): string {
    const path = join(this.path, 'log.key')
    if (!existsSync(path)) {
      const { privateKey } = generateKeyPairSync('ed25519', {
        privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
        publicKeyEncoding: { type: 'spki', format: 'pem' },
      })
      writeFileSync(path, privateKey, { mode: 0o600, flag: 'wx' })
    }
    return readFileSync(path, 'utf8')
  }

  close(): void {
    this.#database.close()
    this.#lock.close()
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
