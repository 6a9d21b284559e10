// Values of records that only some may read: pseudonyms, which join what is of one value and say nothing else, and encrypted values, each
// a JWE under a data key of the service, which is itself wrapped to the recipients and kept beside the log. Who destroys the wrapped key
// has erased what was encrypted under it, and the tree stays as it is.
// @see RFC 7516 (JWE), RFC 7518 §4.5 (dir), §5.3 (A256GCM)
import { createCipheriv, createHmac, createPublicKey, type KeyObject, randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { GeneralEncrypt } from 'jose'
import { PdpError } from '../errors.ts'
import { syncFolder, writeWhole } from './durable-files.ts'
import type { MaskRule } from './mask.ts'

/** @param key secret; at least 32 bytes */
export function pseudonym(key: Buffer): MaskRule['replace'] {
  return (value) => `hmac-sha256:${createHmac('sha256', key).update(JSON.stringify(value)).digest('base64url')}`
}

export interface Recipient {
  readonly id: string
  readonly publicKey: KeyObject
}

/** @throws PdpError ERR_CONFIG_INVALID for what is no public key to encrypt to */
export function readRecipient(id: string, pem: string): Recipient {
  let publicKey: KeyObject
  try {
    publicKey = createPublicKey(pem)
  } catch (cause) {
    throw new PdpError('ERR_CONFIG_INVALID', `decisionLog.encryption: the key of \`${id}\` cannot be read: ${(cause as Error).message}`, {
      cause,
    })
  }
  algorithmOf(publicKey, id)
  return { id, publicKey }
}

/** @throws PdpError ERR_CONFIG_INVALID */
function algorithmOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject, id: string): string {
  if (asymmetricKeyType === 'rsa' && (asymmetricKeyDetails?.modulusLength ?? 0) >= 2_048) return 'RSA-OAEP-256'
  if (asymmetricKeyType === 'ec' || asymmetricKeyType === 'x25519') return 'ECDH-ES+A256KW'
  throw new PdpError(
    'ERR_CONFIG_INVALID',
    `decisionLog.encryption: the key of \`${id}\` must be RSA of 2048 bits at least, P-256, P-384, P-521 or X25519`,
  )
}

interface DataKey {
  readonly key: Buffer
  /** The protected header of its values, in base64url. */
  readonly header: string
}

/** Of the wrapped keys, in the folder of the log. */
export const keysFolder = 'keys'

export interface SealerOptions {
  /** Of the log. */
  readonly folder: string
  readonly recipients: readonly Recipient[]
  /** How long a data key is used. Milliseconds. */
  readonly rotateMs: number
  /** For so long what was encrypted can be read; then its key is destroyed, at the next change. Milliseconds; undefined: for ever. */
  readonly keepMs: number | undefined
  /** Told when a new key cannot be kept: the one before is used on. And when an old one cannot be destroyed. */
  readonly onError: (error: Error) => void
}

/** Encrypts under a data key that is replaced now and then. */
export class Sealer {
  readonly #options: SealerOptions
  readonly #timer: NodeJS.Timeout
  #current: DataKey

  static async open(options: SealerOptions): Promise<Sealer> {
    return new Sealer(options, await makeKey(options.folder, options.recipients))
  }

  private constructor(options: SealerOptions, first: DataKey) {
    this.#options = options
    this.#current = first
    this.#destroyOld()
    this.#timer = setInterval(() => void this.#rotate().catch(options.onError), options.rotateMs).unref()
  }

  /** A compact JWE of the JSON text of a value. */
  readonly seal: MaskRule['replace'] = (value) => {
    const { key, header } = this.#current
    const iv = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', key, iv)
    cipher.setAAD(Buffer.from(header, 'ascii'))
    const text = Buffer.concat([cipher.update(JSON.stringify(value), 'utf8'), cipher.final()])
    return `${header}..${iv.toString('base64url')}.${text.toString('base64url')}.${cipher.getAuthTag().toString('base64url')}`
  }

  async #rotate(): Promise<void> {
    const { folder, recipients } = this.#options
    this.#current = await makeKey(folder, recipients)
    this.#destroyOld()
  }

  #destroyOld(): void {
    const { folder, rotateMs, keepMs, onError } = this.#options
    if (keepMs === undefined) return
    try {
      destroyKeys(join(folder, keysFolder), Date.now() - rotateMs - keepMs)
    } catch (error) {
      onError(error as Error)
    }
  }

  close(): void {
    clearInterval(this.#timer)
  }
}

/** @throws errors of the file system */
function destroyKeys(folder: string, madeBeforeMs: number): void {
  for (const name of readdirSync(folder)) {
    if (!/^[0-9a-f]{16}\.json$/.test(name)) continue
    const { made_at } = JSON.parse(readFileSync(join(folder, name), 'utf8')) as { readonly made_at?: string }
    if (Date.parse(made_at ?? '') < madeBeforeMs) rmSync(join(folder, name))
  }
  syncFolder(folder)
}

/** What is encrypted under a key can be read again only where the wrapped key is on the disk. */
async function makeKey(folder: string, recipients: readonly Recipient[]): Promise<DataKey> {
  const key = randomBytes(32)
  const kid = randomBytes(8).toString('hex')
  const wrapped = new GeneralEncrypt(new Uint8Array(key)).setProtectedHeader({ enc: 'A256GCM' })
  for (const { id, publicKey } of recipients)
    wrapped.addRecipient(publicKey).setUnprotectedHeader({ alg: algorithmOf(publicKey, id), kid: id })
  const text = JSON.stringify({ kid, made_at: new Date().toISOString(), jwe: await wrapped.encrypt() })
  const keys = join(folder, keysFolder)
  mkdirSync(keys, { recursive: true, mode: 0o700 })
  writeWhole(join(keys, `${kid}.json`), `${text}\n`)
  return { key, header: Buffer.from(JSON.stringify({ alg: 'dir', enc: 'A256GCM', kid })).toString('base64url') }
}
