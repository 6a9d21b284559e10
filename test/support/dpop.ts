// Proofs of possession as a client makes them, and as one makes them who should not be believed (RFC 9449).
import { createHash, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto'
import { calculateJwkThumbprint } from 'jose'

export interface ProofKey {
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  readonly thumbprint: string
}

export async function proofKey(): Promise<ProofKey> {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return { ...pair, thumbprint: await calculateJwkThumbprint(pair.publicKey.export({ format: 'jwk' }) as { kty: string }) }
}

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** @param claims, header what is otherwise than it should be */
export function proofOf(
  key: ProofKey,
  request: { readonly method: string; readonly url: string; readonly token: string; readonly nonce?: string | undefined },
  claims: object = {},
  header: object = {},
): string {
  const { method, url, token, nonce } = request
  const ath = createHash('sha256').update(token).digest('base64url')
  const iat = Math.floor(Date.now() / 1_000)
  const head = { typ: 'dpop+jwt', alg: 'ES256', jwk: key.publicKey.export({ format: 'jwk' }), ...header }
  const body = { jti: randomUUID(), htm: method, htu: url, iat, ath, nonce, ...claims }
  const signed = `${encode(head)}.${encode(body)}`
  return `${signed}.${sign('sha256', Buffer.from(signed), { key: key.privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
}
