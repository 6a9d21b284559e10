// Keys of a JSON Web Key Set that may verify signatures; all others are left out. Not where a set comes from.
// @see RFC 7517; https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Trust_Domain_and_Bundle.md
import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { z } from 'zod'
import { checkStrictJson } from '../decision/strict-json.ts'
import { PdpError } from '../errors.ts'
import type { JwtHeader } from './jwt.ts'

const limits = { maxDepth: 16, maxMembers: 10_000, forbidPrototypeKeys: true }
const setSchema = z.looseObject({ spiffe_sequence: z.int().min(0).optional(), keys: z.array(z.looseObject({ kty: z.string() })).max(200) })

export interface PublicKey {
  readonly kid: string | undefined
  /** Algorithms that it can be for. */
  readonly algorithms: readonly string[]
  readonly key: KeyObject
}

const curves: Readonly<Record<string, string>> = { 'P-256': 'ES256', 'P-384': 'ES384', 'P-521': 'ES512' }
const rsa = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']
const minRsaBits = 2_048

export class KeySet {
  /** Of a SPIFFE bundle: counts up with every change. */
  readonly sequence: number | undefined
  readonly #keys: readonly PublicKey[]

  /**
   * @param text JSON of the set
   * @param use that its keys must have; `sig` is taken where a key has none
   * @throws PdpError ERR_CONFIG_INVALID for what is no set
   */
  constructor(text: string, use: 'sig' | 'jwt-svid') {
    let value: unknown
    try {
      checkStrictJson(text, limits)
      value = JSON.parse(text)
    } catch (cause) {
      throw new PdpError('ERR_CONFIG_INVALID', `the key set is not JSON: ${(cause as Error).message}`, { cause })
    }
    const parsed = setSchema.safeParse(value)
    if (!parsed.success) throw new PdpError('ERR_CONFIG_INVALID', 'the key set is none: it must have a list `keys`')
    this.sequence = parsed.data.spiffe_sequence
    const keys = parsed.data.keys.flatMap((jwk) => publicKeyOf(jwk, use) ?? [])
    // Of two keys under one name it cannot be told which is meant.
    this.#keys = keys.filter(({ kid }) => kid === undefined || keys.filter((one) => one.kid === kid).length === 1)
  }

  get size(): number {
    return this.#keys.length
  }

  /** By its ID; a token without one is taken where there is one key only. */
  readonly find = ({ kid, alg }: Pick<JwtHeader, 'kid' | 'alg'>): KeyObject | undefined => {
    const found =
      kid === undefined && this.#keys.length === 1 ? this.#keys[0] : this.#keys.find((one) => kid !== undefined && one.kid === kid)
    return found?.algorithms.includes(alg) === true ? found.key : undefined
  }
}

/** @returns undefined for a key that must not verify signatures of tokens */
export function publicKeyOf(jwk: Readonly<Record<string, unknown>>, wanted: 'sig' | 'jwt-svid'): PublicKey | undefined {
  const { kty, crv, use, key_ops: operations, alg, kid } = jwk
  // A private key that was published is known to everybody.
  if ('d' in jwk || 'k' in jwk) return undefined
  if (use !== wanted && !(wanted === 'sig' && use === undefined)) return undefined
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) return undefined
  if (kid !== undefined && typeof kid !== 'string') return undefined
  const possible =
    kty === 'EC' ? [curves[String(crv)]] : kty === 'RSA' ? rsa : kty === 'OKP' && crv === 'Ed25519' ? ['EdDSA', 'Ed25519'] : []
  const algorithms = possible.filter((one) => one !== undefined && (alg === undefined || alg === one)) as string[]
  if (algorithms.length === 0) return undefined
  try {
    const key = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' })
    const { modulusLength = minRsaBits, publicExponent = 65_537n } = key.asymmetricKeyDetails ?? {}
    return modulusLength < minRsaBits || publicExponent < 3n ? undefined : { kid, algorithms, key }
  } catch {
    return undefined
  }
}
