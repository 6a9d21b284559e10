// Further signers of a bundle: detached DSSE envelopes around an in-toto statement that names the archive by its digest. Made by
// `verdict sign` and by other tools of that form. Who has to sign is not known here.
// @see https://github.com/secure-systems-lab/dsse (protocol.md); https://github.com/in-toto/attestation (Statement v1)
import { constants, type KeyObject, sign, verify } from 'node:crypto'
import { z } from 'zod'
import { PdpError } from '../errors.ts'
import { fingerprintOf, type Signed, type SigningAlgorithm, type SigningKey, type VerificationKey } from './signatures.ts'
import { parseStrictly } from './strict-parse.ts'

const payloadType = 'application/vnd.in-toto+json'
const statementTypes = ['https://in-toto.io/Statement/v1', 'https://in-toto.io/Statement/v0.1'] as const
/** What our own statements say about the archive. */
const predicateType = 'urn:verdict:bundle-signature:v1'
const limits = { maxDepth: 32, maxMembers: 10_000, forbidPrototypeKeys: true }

const base64 = z.string().regex(/^[A-Za-z0-9+/_-]+={0,2}$/, 'must be base64')
const envelopeSchema = z.strictObject({
  payload: base64.max(200_000),
  payloadType: z.literal(payloadType),
  signatures: z
    .array(z.looseObject({ keyid: z.string().max(128).default(''), sig: base64.max(2_048) }))
    .min(1)
    .max(16),
})
const statementSchema = z.looseObject({
  _type: z.enum(statementTypes),
  subject: z
    .array(z.looseObject({ name: z.string().optional(), digest: z.record(z.string(), z.string()) }))
    .min(1)
    .max(64),
  predicateType: z.string(),
  predicate: z.looseObject({ bundle: z.string().optional(), expires: z.iso.datetime({ offset: true }).optional() }).optional(),
})

export interface EnvelopeClaims {
  /** The only name under which the bundle may be served. */
  readonly bundle?: string | undefined
  readonly expiresAtMs?: number | undefined
}

/**
 * @param digest of the archive, `sha256:` and 64 hexadecimal digits
 * @returns the envelope as JSON text
 * @throws PdpError ERR_USAGE for a secret: whoever verifies with it could sign
 */
export function makeEnvelope(digest: string, { id, algorithm, key }: SigningKey, { bundle, expiresAtMs }: EnvelopeClaims): string {
  if (algorithm.startsWith('HS')) throw new PdpError('ERR_USAGE', 'envelopes are signed with a private key, not with a secret')
  const statement = {
    _type: statementTypes[0],
    subject: [{ name: bundle ?? 'bundle', digest: { sha256: digest.slice('sha256:'.length) } }],
    predicateType,
    predicate: {
      ...(bundle !== undefined && { bundle }),
      ...(expiresAtMs !== undefined && { expires: new Date(expiresAtMs).toISOString() }),
    },
  }
  const payload = Buffer.from(JSON.stringify(statement))
  const sig = sign(hashOf(algorithm), encoded(payload), optionsOf(algorithm, key)).toString('base64')
  return JSON.stringify({ payload: payload.toString('base64'), payloadType, signatures: [{ keyid: id ?? '', sig }] })
}

/**
 * @param text of the envelope
 * @param keys that count; each signature names its key, or is tried with each of them
 * @param name under which the bundle is to be served
 * @returns who signed: at least one, each key once
 * @throws PdpError ERR_BUNDLE_SIGNATURE
 */
export function verifyEnvelope(text: string, digest: string, name: string, keys: readonly VerificationKey[], nowMs: number): Signed[] {
  const envelope = parseStrictly(envelopeSchema, text, limits, refused)
  const payload = Buffer.from(envelope.payload, 'base64')
  const message = encoded(payload)
  const signers = new Map<string, VerificationKey>()
  for (const { keyid, sig } of envelope.signatures) {
    const signature = Buffer.from(sig, 'base64')
    const candidates = keys.filter(({ id, algorithm }) => !algorithm.startsWith('HS') && (keyid === '' || id === keyid))
    const found = candidates.find(({ algorithm, key }) => verify(hashOf(algorithm), message, optionsOf(algorithm, key), signature))
    // A signature of a key that is known and does not verify is an attack or a fault; one of an unknown key says nothing.
    if (found === undefined && candidates.length > 0) throw refused('a signature does not verify')
    if (found !== undefined) signers.set(fingerprintOf(found.key), found)
  }
  if (signers.size === 0) throw refused('no signature is of a key that is configured')
  // Only now is anything of it believed.
  const { subject, predicate } = parseStrictly(statementSchema, payload.toString('utf8'), limits, refused)
  if (!subject.some((one) => `sha256:${one.digest.sha256}` === digest)) throw refused(`it is not for the archive \`${digest}\``)
  if (predicate?.bundle !== undefined && predicate.bundle !== name)
    throw refused(`it is for the bundle \`${predicate.bundle.slice(0, 128)}\``)
  const expiresAtMs = predicate?.expires === undefined ? undefined : Date.parse(predicate.expires)
  if (expiresAtMs !== undefined && expiresAtMs <= nowMs) throw refused('it has expired')
  return Array.from(signers, ([fingerprint, { id, algorithm }]) => ({
    keyId: id,
    algorithm,
    fingerprint,
    issuer: undefined,
    expiresAtMs,
    sequence: undefined,
  }))
}

/** What is signed (DSSE's PAE): the type is part of it, so that nothing signed for another purpose passes. */
function encoded(payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${payload.length} `), payload])
}

function hashOf(algorithm: SigningAlgorithm): string | null {
  return algorithm === 'EdDSA' ? null : `sha${algorithm.slice(2)}`
}

/** ECDSA in ASN.1, as other tools of this form write it. */
function optionsOf(algorithm: SigningAlgorithm, key: KeyObject) {
  return algorithm.startsWith('PS') ? { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST } : key
}

function refused(what: string, cause?: unknown): PdpError {
  return new PdpError('ERR_BUNDLE_SIGNATURE', `the envelope is refused: ${what}`, { cause })
}
