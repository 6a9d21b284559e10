// OPA's bundle signatures: `.signatures.json` with one JWT that lists every file of the archive by its hash. Made here and by
// `opa sign`, verified with keys of the configuration. Ours also say the hashes of the raw bytes, and may say an expiry, a
// sequence number and the bundle's name.
// @see https://www.openpolicyagent.org/docs/management-bundles#signing
import { createHash, createHmac, createPrivateKey, createPublicKey, createSecretKey, type KeyObject } from 'node:crypto'
import { CompactSign, type CompactVerifyResult, compactVerify, decodeProtectedHeader } from 'jose'
import { z } from 'zod'
import { elementsOf, membersOf } from '../decision/json-text.ts'
import { checkStrictJson } from '../decision/strict-json.ts'
import { PdpError } from '../errors.ts'
import { parseStrictly } from './strict-parse.ts'

export const signaturesFile = '.signatures.json'

export const signingAlgorithms = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'HS256',
  'HS384',
  'HS512',
] as const
export type SigningAlgorithm = (typeof signingAlgorithms)[number]

/** A key of the configuration. */
export interface VerificationKey {
  readonly id: string
  readonly algorithm: SigningAlgorithm
  readonly key: KeyObject
}

export interface SigningKey {
  readonly id: string | undefined
  readonly algorithm: SigningAlgorithm
  readonly key: KeyObject
}

export interface SignatureDemands {
  /** Keys that count; the JWT names one of them. */
  readonly keys: readonly VerificationKey[]
  readonly scope: string | undefined
  readonly requireExpiry: boolean
  readonly requireSequence: boolean
}

/** Who signed, and what the signed part says. */
export interface Signed {
  readonly keyId: string
  readonly algorithm: string
  /** Of the key, so that one key under two IDs is one signer. */
  readonly fingerprint: string
  readonly issuer: string | undefined
  readonly expiresAtMs: number | undefined
  readonly sequence: number | undefined
}

export interface SigningClaims {
  readonly scope?: string | undefined
  readonly expiresAtMs?: number | undefined
  readonly sequence?: number | undefined
  /** The only name under which the bundle may be served. */
  readonly bundle?: string | undefined
}

type Files = ReadonlyMap<string, Uint8Array>

const limits = { maxDepth: 1_000, maxMembers: 10_000_000, forbidPrototypeKeys: false }

/** OPA's names; MD5 and SHA-1 are refused. */
const hashes: Readonly<Record<string, string>> = {
  'SHA-224': 'sha224',
  'SHA-256': 'sha256',
  'SHA-384': 'sha384',
  'SHA-512': 'sha512',
  'SHA-512-224': 'sha512-224',
  'SHA-512-256': 'sha512-256',
}

const setSchema = z.strictObject({ signatures: z.array(z.string()).length(1), plugin: z.string().optional() })
const claimsSchema = z.looseObject({
  files: z.array(z.looseObject({ name: z.string(), hash: z.string(), algorithm: z.string() })).max(20_000),
  scope: z.string().default(''),
  keyid: z.string().optional(),
  iss: z.string().optional(),
  exp: z.number().optional(),
  verdict: z
    .looseObject({
      raw: z.record(z.string(), z.string()).optional(),
      sequence: z.int().min(0).optional(),
      bundle: z.string().optional(),
    })
    .optional(),
})

/**
 * Verifies the signature of an archive.
 * @param files of the archive, by path
 * @param name under which the bundle is to be served
 * @returns undefined where there is none
 * @throws PdpError ERR_BUNDLE_SIGNATURE
 */
export async function verifySignatures(
  files: Files,
  name: string,
  { keys, scope, requireExpiry, requireSequence }: SignatureDemands,
  nowMs: number,
): Promise<Signed | undefined> {
  const content = files.get(signaturesFile)
  if (content === undefined) return undefined
  const { token } = readSet(content)
  const { payload, key } = await verifyToken(token, keys)
  const claims = parseStrictly(claimsSchema, Buffer.from(payload).toString('utf8'), limits, refused)
  if (claims.scope !== (scope ?? '')) throw refused('it is for another scope')
  if (claims.verdict?.bundle !== undefined && claims.verdict.bundle !== name)
    throw refused(`it is for the bundle \`${claims.verdict.bundle}\``)
  if (requireExpiry && claims.exp === undefined) throw refused('it has no expiry, and one is required')
  if (requireSequence && claims.verdict?.sequence === undefined) throw refused('it has no sequence number, and one is required')
  if (claims.exp !== undefined && claims.exp * 1_000 <= nowMs) throw refused('it has expired')
  checkFiles(files, claims.files, claims.verdict?.raw)
  return {
    keyId: key.id,
    algorithm: key.algorithm,
    fingerprint: fingerprintOf(key.key),
    issuer: claims.iss,
    expiresAtMs: claims.exp === undefined ? undefined : claims.exp * 1_000,
    sequence: claims.verdict?.sequence,
  }
}

/** @returns what `.signatures.json` is to hold */
export async function signFiles(files: Files, { id, algorithm, key }: SigningKey, claims: SigningClaims, nowMs: number): Promise<string> {
  const listed = [...files].filter(([path]) => path !== signaturesFile).sort(([a], [b]) => (a < b ? -1 : 1))
  const { scope, expiresAtMs, sequence, bundle } = claims
  const payload = {
    files: listed.map(([path, content]) => ({ name: path, hash: hashOf('SHA-256', path, content), algorithm: 'SHA-256' })),
    iat: Math.floor(nowMs / 1_000),
    ...(scope !== undefined && { scope }),
    ...(id !== undefined && { keyid: id }),
    ...(expiresAtMs !== undefined && { exp: Math.floor(expiresAtMs / 1_000) }),
    verdict: {
      raw: Object.fromEntries(listed.map(([path, content]) => [path, createHash('sha256').update(content).digest('hex')])),
      ...(sequence !== undefined && { sequence }),
      ...(bundle !== undefined && { bundle }),
    },
  }
  const token = await new CompactSign(Buffer.from(JSON.stringify(payload)))
    .setProtectedHeader({ alg: algorithm, ...(id !== undefined && { kid: id }) })
    .sign(key)
  return JSON.stringify({ signatures: [token] })
}

/**
 * @param text PEM, or for HS algorithms the secret
 * @throws PdpError ERR_CONFIG_INVALID
 */
export function parseKey(text: string, algorithm: SigningAlgorithm, kind: 'public' | 'private', where: string): KeyObject {
  if (algorithm.startsWith('HS')) {
    const secret = Buffer.from(text.trim())
    // What could be a public key must never be a secret: whoever reads the key could sign.
    if (text.includes('-----BEGIN')) throw unusable(where, 'a key in PEM is no secret')
    if (secret.length < 32) throw unusable(where, 'the secret must have at least 32 characters')
    return createSecretKey(secret)
  }
  let key: KeyObject
  try {
    key = kind === 'private' ? createPrivateKey(text) : createPublicKey(text)
  } catch (cause) {
    throw unusable(where, `not a ${kind} key in PEM`, cause)
  }
  const { namedCurve = '', modulusLength = 0 } = key.asymmetricKeyDetails ?? {}
  const curve = { ES256: 'prime256v1', ES384: 'secp384r1', ES512: 'secp521r1' }[algorithm as string]
  const fits =
    curve !== undefined
      ? namedCurve === curve
      : algorithm === 'EdDSA'
        ? key.asymmetricKeyType === 'ed25519'
        : key.asymmetricKeyType === 'rsa' && modulusLength >= 2_048
  if (!fits) throw unusable(where, `the key is none for ${algorithm}`)
  return key
}

/** SHA-256 of a key, hexadecimal. */
export function fingerprintOf(key: KeyObject): string {
  return key.type === 'secret'
    ? createHmac('sha256', key).update('fingerprint').digest('hex')
    : createHash('sha256')
        .update(key.export({ type: 'spki', format: 'der' }))
        .digest('hex')
}

function unusable(where: string, what: string, cause?: unknown): PdpError {
  return new PdpError('ERR_CONFIG_INVALID', `${where}: ${what}`, { cause })
}

function readSet(content: Uint8Array): { readonly token: string } {
  const { signatures } = parseStrictly(setSchema, Buffer.from(content).toString('utf8'), limits, refused)
  return { token: signatures[0] as string }
}

async function verifyToken(
  token: string,
  keys: readonly VerificationKey[],
): Promise<{ readonly payload: Uint8Array; readonly key: VerificationKey }> {
  if (keys.length === 0) throw refused('the bundle is signed, and no key is configured to verify it with')
  let result: CompactVerifyResult
  try {
    const header = decodeProtectedHeader(token)
    // The JWT names its key in its header, as here, or in its claims, as `opa sign` does. The name chooses among keys that are
    // trusted; nothing else of an unverified token is believed.
    const named = header.kid ?? keyIdOf(token)
    const key = named === undefined && keys.length === 1 ? keys[0] : keys.find(({ id }) => id === named)
    if (key === undefined) throw refused(`it is of a key that is not configured: \`${String(named).slice(0, 64)}\``)
    result = await compactVerify(token, key.key, { algorithms: [key.algorithm] })
    return { payload: result.payload, key }
  } catch (cause) {
    if (cause instanceof PdpError) throw cause
    throw refused(`it does not verify: ${(cause as Error).message}`, cause)
  }
}

function keyIdOf(token: string): string | undefined {
  const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')) as { keyid?: unknown }
  return typeof claims.keyid === 'string' ? claims.keyid : undefined
}

interface ListedFile {
  readonly name: string
  readonly hash: string
  readonly algorithm: string
}

/** The files of the archive are those of the list: no more, no fewer. */
function checkFiles(files: Files, listed: readonly ListedFile[], raw: Readonly<Record<string, string>> | undefined): void {
  const left = new Set([...files.keys()].filter((path) => path !== signaturesFile))
  for (const { name, hash, algorithm } of listed) {
    const path = name.replace(/^\//, '')
    const content = files.get(path)
    if (path === signaturesFile) throw refused('it lists itself')
    if (content === undefined) throw refused(`it lists \`${path.slice(0, 128)}\`, which the archive does not have`)
    if (!left.delete(path)) throw refused(`it lists \`${path}\` twice`)
    if (hashOf(algorithm, path, content) !== hash.toLowerCase()) throw refused(`the file \`${path}\` is not what was signed`)
    if (raw !== undefined && createHash('sha256').update(content).digest('hex') !== raw[path])
      throw refused(`the bytes of \`${path}\` are not what was signed`)
  }
  const [extra] = left
  if (extra !== undefined) throw refused(`it does not list \`${extra}\``)
}

/** Of structured files OPA hashes the value, with its keys in order, so that spaces do not count. */
function hashOf(algorithm: string, path: string, content: Uint8Array): string {
  const name = Object.hasOwn(hashes, algorithm) ? hashes[algorithm] : undefined
  if (name === undefined) throw refused(`the hash \`${algorithm.slice(0, 32)}\` is not taken`)
  const hash = createHash(name)
  const isStructured = /(?:^|\/)(?:data\.json|\.manifest)$/.test(path)
  return hash.update(isStructured ? canonical(path, content) : content).digest('hex')
}

function canonical(path: string, content: Uint8Array): string {
  const text = Buffer.from(content).toString('utf8')
  try {
    // A key that is there twice would hide one of its values from the hash.
    checkStrictJson(text, limits)
  } catch (cause) {
    throw refused(`${path}: ${(cause as Error).message}`, cause)
  }
  return canonicalValue(text.trim())
}

/** As OPA's bundle/hash.go writes values: members in the order of their keys' bytes, numbers as they are, Go's escapes. */
function canonicalValue(text: string): string {
  if (text.startsWith('{')) {
    const members = [...membersOf(text)].map(([key, value]) => ({ key, bytes: Buffer.from(key), value }))
    members.sort((a, b) => Buffer.compare(a.bytes, b.bytes))
    return `{${members.map(({ key, value }) => `${goString(key)}:${canonicalValue(value)}`).join(',')}}`
  }
  if (text.startsWith('[')) return `[${elementsOf(text).map(canonicalValue).join(',')}]`
  return text.startsWith('"') ? goString(JSON.parse(text) as string) : text
}

function goString(text: string): string {
  return JSON.stringify(text).replace(/[\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16)}`)
}

function refused(what: string, cause?: unknown): PdpError {
  return new PdpError('ERR_BUNDLE_SIGNATURE', `the signature is refused: ${what}`, { cause })
}
