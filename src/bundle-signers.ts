// Who may sign which bundle, by the configuration: keys are read here, signatures and envelopes are held against them, and it is
// told from when on what they signed is too old to be believed. How a signature is made up is known in src/bundles/.
import { verifyEnvelope } from './bundles/envelopes.ts'
import { parseKey, type Signed, type VerificationKey, verifySignatures } from './bundles/signatures.ts'
import type { BundleRules, Config } from './config.ts'
import { PdpError } from './errors.ts'
import { readText } from './identity/files.ts'

export class BundleSigners {
  readonly #config: Pick<Config, 'keys'>
  #keys: readonly VerificationKey[]

  /** @throws PdpError ERR_CONFIG_INVALID for a key that cannot be read */
  constructor(config: Pick<Config, 'keys'>) {
    this.#config = config
    this.#keys = readKeys(config)
  }

  /** @throws PdpError ERR_CONFIG_INVALID; the keys of before stay */
  reload(): void {
    this.#keys = readKeys(this.#config)
  }

  /**
   * @param files of an archive
   * @returns undefined where it is not signed and need not be
   * @throws PdpError ERR_BUNDLE_SIGNATURE
   */
  async verify({ name, signature }: BundleRules, files: ReadonlyMap<string, Uint8Array>): Promise<Signed | undefined> {
    const signed = await verifySignatures(files, name, { ...signature, scope: signature.scope, keys: this.#keysOf(signature) }, Date.now())
    if (signed === undefined && signature.required) throw new PdpError('ERR_BUNDLE_SIGNATURE', 'the bundle is not signed, and must be')
    return signed
  }

  /**
   * @param envelope JSON text
   * @throws PdpError ERR_BUNDLE_SIGNATURE
   */
  verifyEnvelope({ name, signature }: BundleRules, digest: string, envelope: string): Signed[] {
    return verifyEnvelope(envelope, digest, name, this.#keysOf(signature), Date.now())
  }

  #keysOf({ keys }: BundleRules['signature']): VerificationKey[] {
    return this.#keys.filter(({ id }) => keys?.includes(id) ?? true)
  }
}

/** When the first of the signatures expires; undefined: none does. */
export function expiryOf(signers: readonly Signed[]): number | undefined {
  const times = signers.flatMap(({ expiresAtMs }) => (expiresAtMs === undefined ? [] : [expiresAtMs]))
  return times.length === 0 ? undefined : Math.min(...times)
}

/** From when on what was signed is not answered from any longer: an expiry is an alarm first, and then a deny. */
export function refusedFrom({ signature }: BundleRules, signers: readonly Signed[]): number {
  const expiry = expiryOf(signers)
  return expiry === undefined ? Number.POSITIVE_INFINITY : expiry + signature.expiryGraceMs
}

/** @throws PdpError ERR_CONFIG_INVALID */
function readKeys({ keys }: Pick<Config, 'keys'>): VerificationKey[] {
  return keys.map(({ id, algorithm, file }) => {
    const where = `keys.${id}`
    return { id, algorithm, key: parseKey(readText(file, where), algorithm, 'public', where) }
  })
}
