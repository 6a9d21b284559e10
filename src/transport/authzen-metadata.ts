// AuthZEN's metadata: where the endpoints are, plainly and, where a key is configured, signed.
// @see https://openid.net/specs/authorization-api-1_0.html §9
import { createPrivateKey, type KeyObject } from 'node:crypto'
import { SignJWT } from 'jose'
import type { SearchKind } from '../decision/candidates.ts'
import { PdpError } from '../errors.ts'

export const metadataPath = '/.well-known/authzen-configuration'

export type Metadata = Readonly<Record<string, string | readonly string[]>>

/**
 * @param base where clients reach the service: https, no path, no slash at the end
 * @param kinds what can be searched for; endpoints of others are left out
 */
export function toMetadata(base: string, kinds: ReadonlySet<SearchKind>): Metadata {
  return {
    policy_decision_point: base,
    access_evaluation_endpoint: `${base}/access/v1/evaluation`,
    access_evaluations_endpoint: `${base}/access/v1/evaluations`,
    ...Object.fromEntries([...kinds].map((kind) => [`search_${kind}_endpoint`, `${base}/access/v1/search/${kind}`])),
  }
}

/** @returns the metadata with itself as a signed token */
export async function signMetadata(metadata: Metadata, key: MetadataKey): Promise<Metadata> {
  const signed = await new SignJWT({ ...metadata })
    .setProtectedHeader({ alg: key.algorithm, typ: 'JWT' })
    .setIssuer(metadata['policy_decision_point'] as string)
    .setIssuedAt()
    .sign(key.key)
  return { ...metadata, signed_metadata: signed }
}

export interface MetadataKey {
  readonly key: KeyObject
  readonly algorithm: string
}

/**
 * @param pem a private key: Ed25519, P-256, P-384, or RSA of 2048 bits and more
 * @throws PdpError ERR_CONFIG_INVALID
 */
export function parseMetadataKey(pem: string): MetadataKey {
  let key: KeyObject
  try {
    key = createPrivateKey(pem)
  } catch (cause) {
    throw new PdpError('ERR_CONFIG_INVALID', 'authzen.metadataKeyFile: not a private key in PEM', { cause })
  }
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {}
  const algorithm =
    key.asymmetricKeyType === 'ed25519'
      ? 'EdDSA'
      : key.asymmetricKeyType === 'rsa' && modulusLength >= 2_048
        ? 'PS256'
        : { prime256v1: 'ES256', secp384r1: 'ES384' }[namedCurve ?? '']
  if (algorithm === undefined) {
    throw new PdpError('ERR_CONFIG_INVALID', 'authzen.metadataKeyFile: the key must be Ed25519, P-256, P-384, or RSA of 2048 bits and more')
  }
  return { key, algorithm }
}
