// Proofs that whoever shows a token has the key that it is bound to: one for each request, for its method and its target, not older
// than a minute or so, with a nonce of this service where that is asked for. Not who remembers which were seen: that is passed in.
// @see RFC 9449
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { calculateJwkThumbprint, type JWK } from 'jose'
import { PdpError } from '../errors.ts'
import { type ParsedJwt, parseJwt, verifySignature } from './jwt.ts'
import { publicKeyOf } from './key-set.ts'

/** What a request shows. */
export interface ProvenRequest {
  /** Values of the field `DPoP`. */
  readonly proofs: readonly string[]
  readonly method: string
  /** Where the request came to, by its own word: with a port where one was given. */
  readonly host: string
  /** Without a query. */
  readonly path: string
}

export interface ProofRules {
  readonly algorithms: readonly string[]
  /** By `iat`. Milliseconds. */
  readonly maxAgeMs: number
  /** How far ahead the clocks of clients may be. Milliseconds. */
  readonly clockSkewMs: number
  /** Undefined: none are asked for. */
  readonly nonces: Nonces | undefined
  /** Where clients reach this service, without a slash at the end; empty: at the host that a request names, if it is one of `hosts`. */
  readonly urls: readonly string[]
  readonly scheme: 'http' | 'https'
  /** Names in lower case; undefined: any. */
  readonly hosts: ReadonlySet<string> | undefined
}

export interface Proof {
  /** Thumbprint of the key, as `cnf.jkt` says it (RFC 7638, SHA-256). */
  readonly thumbprint: string
  /** What may be seen once. 32 bytes. */
  readonly digest: Buffer
  /** Behind which it is too old. Milliseconds since 1970. */
  readonly untilMs: number
  /** For the next proof; undefined: the last one holds on. */
  readonly nextNonce: string | undefined
}

/**
 * Everything but whether it was seen.
 * @param token the access token that it came with
 * @throws PdpError ERR_TOKEN_INVALID with a challenge
 */
export async function verifyProof(request: ProvenRequest, token: string, rules: ProofRules, nowMs: number): Promise<Proof> {
  const [text, ...more] = request.proofs
  if (text === undefined || more.length > 0) throw proofRefused('a request needs one proof')
  const { jwk, claims } = await readProof(text, rules)
  const { jti, htm, htu, iat, ath, nonce } = claims
  if (typeof jti !== 'string' || jti === '' || jti.length > 512) throw proofRefused('the claim `jti` is none')
  if (htm !== request.method) throw proofRefused('it is for another method')
  if (typeof htu !== 'string' || !isTarget(htu, request, rules)) throw proofRefused('it is for another target')
  if (ath !== createHash('sha256').update(token).digest('base64url')) throw proofRefused('it is for another token')
  const { maxAgeMs, clockSkewMs, nonces } = rules
  if (typeof iat !== 'number' || !(iat > 0 && iat < 1e11)) throw proofRefused('the claim `iat` is no time')
  const issuedAtMs = iat * 1_000
  if (nowMs > issuedAtMs + maxAgeMs + clockSkewMs || nowMs < issuedAtMs - clockSkewMs) throw proofRefused('it is not of now')
  const isCurrent = nonces === undefined || nonces.check(nonce, nowMs)
  const thumbprint = await calculateJwkThumbprint(jwk)
  return {
    thumbprint,
    digest: createHash('sha256').update(`dpop\0${thumbprint}\0${jti}`).digest(),
    untilMs: issuedAtMs + maxAgeMs + clockSkewMs,
    nextNonce: isCurrent ? undefined : nonces?.current(nowMs),
  }
}

/** Reads a proof, and verifies it by the key that it brings. */
async function readProof(proof: string, { algorithms }: ProofRules): Promise<{ jwk: JWK; claims: ParsedJwt['claims'] }> {
  try {
    const parsed = parseJwt(proof, { bringsKey: true })
    const { header, claims, jwk } = parsed
    if (header.typ !== 'dpop+jwt') throw proofRefused('its type is not `dpop+jwt`')
    if (!algorithms.includes(header.alg)) throw proofRefused('its algorithm is not taken')
    const found = publicKeyOf(jwk ?? {}, 'sig')
    if (found?.algorithms.includes(header.alg) !== true) throw proofRefused('its key cannot be used')
    await verifySignature(parsed, found.key)
    return { jwk: jwk as JWK, claims }
  } catch (cause) {
    if (cause instanceof PdpError && cause.challenge !== undefined) throw cause
    throw proofRefused((cause as Error).message, cause)
  }
}

/** The query and the fragment do not count; the rest has one spelling (RFC 9449 §4.3, RFC 3986 §6.2.2). */
function isTarget(htu: string, { host, path }: ProvenRequest, { urls, scheme, hosts }: ProofRules): boolean {
  const wanted = urls.length > 0 ? urls : isServed(host, hosts) ? [`${scheme}://${host}`] : []
  const said = normalized(htu)
  return said !== undefined && wanted.some((base) => normalized(base + path) === said)
}

function isServed(host: string, hosts: ReadonlySet<string> | undefined): boolean {
  return hosts === undefined || hosts.has(host.replace(/:\d+$/, '').toLowerCase())
}

function normalized(url: string): string | undefined {
  if (!URL.canParse(url)) return undefined
  const { protocol, host, pathname, username, password } = new URL(url)
  return username + password === '' ? `${protocol}//${host}${pathname}` : undefined
}

/** A refusal that says to the client what to do about it. */
function proofRefused(what: string, cause?: unknown): PdpError {
  return new PdpError('ERR_TOKEN_INVALID', `invalid_dpop_proof: the proof is refused: ${what}`, {
    cause,
    challenge: { error: 'invalid_dpop_proof' },
  })
}

const timeBytes = 6
const macBytes = 16

/**
 * Nonces that need no memory: the time of their window under a key of this process. One is taken in its window and the next, so that
 * each is good for at least one window.
 */
export class Nonces {
  readonly #key = randomBytes(32)
  readonly #windowMs: number

  constructor(windowMs: number) {
    this.#windowMs = windowMs
  }

  current(nowMs: number): string {
    return this.#of(Math.floor(nowMs / this.#windowMs))
  }

  /**
   * @returns whether it is the current one; false: it will not be good for much longer
   * @throws PdpError ERR_TOKEN_INVALID with the current one
   */
  check(nonce: unknown, nowMs: number): boolean {
    const window = Math.floor(nowMs / this.#windowMs)
    if (isSame(nonce, this.#of(window))) return true
    if (isSame(nonce, this.#of(window - 1))) return false
    throw new PdpError('ERR_TOKEN_INVALID', 'use_dpop_nonce: the proof needs the nonce that this answer brings', {
      challenge: { error: 'use_dpop_nonce', nonce: this.current(nowMs) },
    })
  }

  #of(window: number): string {
    const time = Buffer.alloc(timeBytes)
    time.writeUIntBE(window, 0, timeBytes)
    return Buffer.concat([time, createHmac('sha256', this.#key).update(time).digest().subarray(0, macBytes)]).toString('base64url')
  }
}

function isSame(nonce: unknown, wanted: string): boolean {
  return typeof nonce === 'string' && nonce.length === wanted.length && timingSafeEqual(Buffer.from(nonce), Buffer.from(wanted))
}
