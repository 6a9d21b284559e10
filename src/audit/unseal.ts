// Encrypted values of records read again by who has a private key: the data keys beside the log are unwrapped, each once. A value whose
// key was destroyed stays as it is.
import { createPrivateKey, type KeyObject } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { compactDecrypt, decodeProtectedHeader, generalDecrypt } from 'jose'
import { PdpError } from '../errors.ts'
import { keysFolder } from './seal.ts'

const jwePattern = /"(eyJ[A-Za-z0-9_-]+\.\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+)"/g

export class Unsealer {
  readonly #folder: string
  readonly #privateKeys: readonly KeyObject[]
  readonly #keys = new Map<string, Promise<Uint8Array | undefined>>()
  /** Values that could be read, and those whose key is gone or not for these private keys. */
  readonly counts = { read: 0, sealed: 0 }

  /** @param pems private keys @throws PdpError ERR_USAGE for what is none */
  constructor(folder: string, pems: readonly string[]) {
    this.#folder = folder
    try {
      this.#privateKeys = pems.map((pem) => createPrivateKey(pem))
    } catch (cause) {
      throw new PdpError('ERR_USAGE', `a private key cannot be read: ${(cause as Error).message}`, { cause })
    }
  }

  /** @returns the line with all values that can be read in their places */
  async unseal(line: string): Promise<string> {
    const values = new Map<string, string>()
    for (const [, jwe] of line.matchAll(jwePattern)) {
      const plain = await this.#decrypt(jwe as string)
      if (plain === undefined) this.counts.sealed++
      else {
        this.counts.read++
        values.set(`"${jwe}"`, plain)
      }
    }
    return values.size === 0 ? line : line.replace(jwePattern, (quoted) => values.get(quoted) ?? quoted)
  }

  async #decrypt(jwe: string): Promise<string | undefined> {
    try {
      const { kid } = decodeProtectedHeader(jwe)
      const key = await this.#keyOf(String(kid))
      if (key === undefined) return undefined
      const { plaintext } = await compactDecrypt(jwe, key, { keyManagementAlgorithms: ['dir'], contentEncryptionAlgorithms: ['A256GCM'] })
      return new TextDecoder().decode(plaintext)
    } catch {
      return undefined
    }
  }

  #keyOf(kid: string): Promise<Uint8Array | undefined> {
    let key = this.#keys.get(kid)
    if (key === undefined) {
      key = this.#unwrap(kid)
      this.#keys.set(kid, key)
    }
    return key
  }

  async #unwrap(kid: string): Promise<Uint8Array | undefined> {
    const path = join(this.#folder, keysFolder, `${kid}.json`)
    if (!/^[0-9a-f]{16}$/.test(kid) || !existsSync(path)) return undefined
    const { jwe } = JSON.parse(readFileSync(path, 'utf8')) as { readonly jwe: Parameters<typeof generalDecrypt>[0] }
    for (const privateKey of this.#privateKeys) {
      try {
        const { plaintext } = await generalDecrypt(jwe, privateKey, { keyManagementAlgorithms: ['RSA-OAEP-256', 'ECDH-ES+A256KW'] })
        return plaintext
      } catch {
        // Wrapped to others.
      }
    }
    return undefined
  }
}
