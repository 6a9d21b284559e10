// JSON Web Tokens, read strictly and verified: one form (compact JWS), one reading of every part, and nothing believed before the
// signature holds. Which keys there are, and who a token makes of its bearer, is known elsewhere.
// @see RFC 7515, RFC 7519, RFC 8725
import type { KeyObject } from 'node:crypto'
import { compactVerify } from 'jose'
import type { JsonText } from '../decision/request.ts'
import { checkStrictJson } from '../decision/strict-json.ts'
import { PdpError } from '../errors.ts'

/** Why a token is refused. */
export type TokenFault =
  | 'malformed_token'
  | 'unsupported_token'
  | 'unsupported_crit'
  | 'untrusted_key_source'
  | 'alg_not_allowed'
  | 'type_not_allowed'
  | 'unknown_kid'
  | 'bad_signature'
  | 'unknown_issuer'
  | 'wrong_audience'
  | 'missing_claim'
  | 'malformed_claim'
  | 'expired'
  | 'not_yet_valid'
  | 'issued_in_future'
  | 'lifetime_too_long'
  | 'wrong_binding'
  | 'inactive'
  | 'not_verifiable'

export interface JwtHeader {
  readonly alg: string
  readonly kid: string | undefined
  readonly typ: string | undefined
}

/** A token whose parts can be read; nothing in it is believed. */
export interface ParsedJwt {
  readonly token: string
  readonly header: JwtHeader
  /** Names of all fields of the header. */
  readonly fields: readonly string[]
  readonly claims: Readonly<Record<string, unknown>>
  /** The claims as JSON text: numbers with the digits that they came with. */
  readonly payload: JsonText
  /** A key that its header brings, where it may. */
  readonly jwk: Readonly<Record<string, unknown>> | undefined
}

export interface JwtRules {
  /** Asymmetric ones only. */
  readonly algorithms: readonly string[]
  /** Values of `typ` in lower case that are taken; `undefined` among them: it may be absent. */
  readonly types: readonly (string | undefined)[]
  /** At least one; a token must be for one of them and for nobody else. */
  readonly audiences: readonly string[]
  /** Claims beside `exp` and `aud` that must be there. */
  readonly required: readonly string[]
  /** From `iat`, or from now where there is none, to `exp`. Milliseconds. */
  readonly maxLifetimeMs: number
  /** Between clocks; at most a minute. Milliseconds. */
  readonly clockSkewMs: number
}

/** Finds the keys that may have signed. */
export type KeyFinder = (header: JwtHeader) => KeyObject | undefined

/** Of any token. Characters. */
export const maxLength = 16_384
const limits = { maxDepth: 16, maxMembers: 1_000, forbidPrototypeKeys: true }
/** Fields of a header that would let a token choose its own key. */
const keySources = ['jwk', 'jku', 'x5u', 'x5c', 'x5t', 'x5t#S256']

/** By its form; not whether it is a good one. */
export function looksLikeJwt(token: string): boolean {
  return /^ey/i.test(token) && token.includes('.')
}

/**
 * @param bringsKey whether its header may have a `jwk`: a proof of possession is by the key that it brings, a token never
 * @throws PdpError ERR_TOKEN_INVALID
 */
export function parseJwt(token: string, { bringsKey = false } = {}): ParsedJwt {
  if (token.length > maxLength) throw refused('malformed_token', 'it is too long')
  const [first, second] = [token.indexOf('.'), token.indexOf('.', token.indexOf('.') + 1)]
  if (first < 0 || second < 0) throw refused('malformed_token', 'it does not have three parts')
  if (token.indexOf('.', second + 1) >= 0) throw refused('unsupported_token', 'it does not have three parts')
  const { value: header } = jsonOf(token.slice(0, first), 'header')
  // Before anything else: what it says it needs, and is not understood, may change what everything else means.
  if ('crit' in header || 'b64' in header) throw refused('unsupported_crit', 'its header asks for extensions')
  if ('zip' in header || 'enc' in header) throw refused('unsupported_token', 'it is compressed or encrypted')
  if (keySources.some((name) => name in header && !(bringsKey && name === 'jwk')))
    throw refused('untrusted_key_source', 'its header brings a key')
  const { alg, kid, typ } = header
  if (typeof alg !== 'string') throw refused('alg_not_allowed', 'its header names no algorithm')
  if (kid !== undefined && (typeof kid !== 'string' || kid.length > 256)) throw refused('unknown_kid', 'its key ID is none')
  if (typ !== undefined && typeof typ !== 'string') throw refused('type_not_allowed', 'its type is none')
  bytesOf(token.slice(second + 1), 'signature')
  const { value: claims, text: payload } = jsonOf(token.slice(first + 1, second), 'payload')
  const jwk = typeof header.jwk === 'object' && header.jwk !== null ? (header.jwk as Record<string, unknown>) : undefined
  return { token, header: { alg, kid, typ }, fields: Object.keys(header), claims, payload, jwk }
}

/**
 * @param find among keys that are trusted for whoever the token says it is of
 * @throws PdpError ERR_TOKEN_INVALID
 */
export async function verifyJwt(parsed: ParsedJwt, rules: JwtRules, find: KeyFinder, nowMs: number): Promise<void> {
  const { header } = parsed
  if (!rules.algorithms.includes(header.alg)) throw refused('alg_not_allowed', 'its algorithm is not taken')
  if (!rules.types.includes(header.typ?.toLowerCase().replace(/^application\//, '')))
    throw refused('type_not_allowed', 'its type is not taken')
  const key = find(header)
  if (key === undefined) throw refused('unknown_kid', 'its key is not known')
  await verifySignature(parsed, key)
  checkClaims(parsed.claims, rules, nowMs)
}

/** @param key that may have signed, by the algorithm of the header @throws PdpError ERR_TOKEN_INVALID */
export async function verifySignature({ token, header }: ParsedJwt, key: KeyObject): Promise<void> {
  try {
    await compactVerify(token, key, { algorithms: [header.alg] })
  } catch (cause) {
    throw refused('bad_signature', 'its signature does not verify', cause)
  }
}

/** @throws PdpError ERR_TOKEN_INVALID */
export function checkClaims(claims: ParsedJwt['claims'], rules: JwtRules, nowMs: number): void {
  const { audiences, required, maxLifetimeMs, clockSkewMs } = rules
  const missing = ['exp', 'aud', ...required].find((name) => claims[name] === undefined)
  if (missing !== undefined) throw refused('missing_claim', `the claim \`${missing}\` is missing`)
  const aud = [claims.aud].flat()
  if (!aud.every((one) => typeof one === 'string' && one !== '')) throw refused('malformed_claim', 'the claim `aud` is none')
  if (aud.length === 0 || !aud.every((one) => audiences.includes(one as string))) throw refused('wrong_audience', 'it is for somebody else')
  const [exp, nbf, iat] = ['exp', 'nbf', 'iat'].map((name) => timeOf(claims[name], name))
  if (exp === undefined || nowMs >= exp + clockSkewMs) throw refused('expired', 'it has expired')
  if (nbf !== undefined && nowMs < nbf - clockSkewMs) throw refused('not_yet_valid', 'it is not valid yet')
  if (iat !== undefined && nowMs < iat - clockSkewMs) throw refused('issued_in_future', 'it was issued in the future')
  if (exp - (iat ?? nowMs) > maxLifetimeMs + (iat === undefined ? clockSkewMs : 0))
    throw refused('lifetime_too_long', 'it lives for too long')
}

/** What whoever shows a token has shown beside it. */
export interface Shown {
  /** SHA-256 of the certificate of the connection, base64url; undefined: there was none. */
  readonly certificate: string | undefined
  /** Thumbprint of the key of a proof; undefined: there was none. */
  readonly thumbprint: string | undefined
}

/**
 * A token that is bound to a key is nobody's without that key: to a certificate (RFC 8705 §3.1) it is held against the one of the
 * connection, to a key for proofs against that of the proof. It is not taken as a bearer token, which would undo what it is bound for
 * (RFC 9449 §7.2), nor a bearer token with a proof.
 * @throws PdpError ERR_TOKEN_INVALID
 */
export function checkBinding({ cnf }: ParsedJwt['claims'], { certificate, thumbprint }: Shown): void {
  if (cnf !== undefined && (typeof cnf !== 'object' || cnf === null || Array.isArray(cnf)))
    throw refused('malformed_claim', 'the claim `cnf` is none')
  const { 'x5t#S256': boundCertificate, jkt, ...others } = (cnf ?? {}) as Record<string, unknown>
  const isBound = boundCertificate !== undefined || jkt !== undefined
  if (Object.keys(others).length > 0 || (cnf !== undefined && !isBound)) throw refused('wrong_binding', 'it is bound to what was not shown')
  if (boundCertificate !== undefined && boundCertificate !== certificate)
    throw refused('wrong_binding', 'it is bound to another certificate than that of the connection')
  if (jkt !== thumbprint) throw refused('wrong_binding', 'its key for proofs is not the one that was shown')
}

/** @returns milliseconds */
function timeOf(value: unknown, name: string): number | undefined {
  if (value === undefined) return undefined
  if (typeof value !== 'number' || !(value > 0 && value < 1e11)) throw refused('malformed_claim', `the claim \`${name}\` is no time`)
  return value * 1_000
}

function jsonOf(part: string, what: string): { value: Record<string, unknown>; text: JsonText } {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytesOf(part, what))
    checkStrictJson(text, limits)
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { value: value as Record<string, unknown>, text }
  } catch (cause) {
    throw refused('malformed_token', `its ${what} cannot be read`, cause)
  }
  throw refused('malformed_token', `its ${what} is no object`)
}

/** One spelling for each value: with two, a list of what was revoked or seen could be passed by. */
function bytesOf(part: string, what: string): Buffer {
  const bytes = Buffer.from(part, 'base64url')
  if (part === '' || bytes.toString('base64url') !== part) throw refused('malformed_token', `its ${what} is not base64url`)
  return bytes
}

/** A refusal of a token; the fault is the first word of its message. */
export function refused(fault: TokenFault, what: string, cause?: unknown): PdpError {
  return new PdpError('ERR_TOKEN_INVALID', `${fault}: the token is refused: ${what}`, { cause })
}
