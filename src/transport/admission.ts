// Who a request is of, by what its connection and its credentials say, and whether a scope lets them in. Not where identities come
// from: verifiers are passed in.
// @see RFC 6750 §2.1, RFC 9449 §7.1
import type { Caller } from '../decision/request.ts'
import { PdpError, toPdpError } from '../errors.ts'
import { certificateOf } from './secure-connections.ts'

/** Finds the caller that a bearer token belongs to; undefined for one that is not known. */
export type TokenVerifier = (token: string) => Caller | undefined

/** What a scope asks for. */
export interface Admission {
  readonly verifyToken: TokenVerifier
  /** Tokens that have to be verified, which takes time; undefined: tokens of that form are like others. */
  readonly tokens?: CallerTokens | undefined
  /** Whether a caller that is known may enter. */
  readonly mayEnter: (caller: Caller) => boolean
  /** Told of every request: how its caller is known, or why it is refused. */
  readonly count: (outcome: AdmissionOutcome) => void
}

export interface CallerTokens {
  /** @throws PdpError */
  readonly verify: (shown: ShownToken) => Promise<AdmittedToken>
  /** Whether any token that nobody knows may be one of these. */
  readonly takesOpaque: boolean
  /** Of proofs of possession; undefined: none are taken. */
  readonly proofAlgorithms: readonly string[] | undefined
}

export interface ShownToken {
  readonly token: string
  /** SHA-256 of what the peer showed, base64url. */
  readonly certificate: string | undefined
  /** What a proof is for; undefined: the token is shown without one. */
  readonly request: (() => ProvenRequest) | undefined
}

/** What a proof of possession is held against. */
export interface ProvenRequest {
  /** Values of the field `DPoP`. */
  readonly proofs: readonly string[]
  readonly method: string
  readonly host: string
  /** Without a query. */
  readonly path: string
}

export interface AdmittedToken {
  readonly caller: Caller
  /** For the client's next proof; undefined: the last one holds on. */
  readonly nextNonce: string | undefined
}

export type AdmissionOutcome = 'certificate' | 'token' | 'ERR_UNAUTHENTICATED' | 'ERR_FORBIDDEN'

const nextNonces = new WeakMap<Caller, string>()

/** What the answer to a caller's request tells it for its next proof. */
export function nextNonceOf(caller: Caller): string | undefined {
  return nextNonces.get(caller)
}

/**
 * @param admission undefined: anybody may enter
 * @param credentials the value of an Authorization field; where it is there, it is who calls
 * @param peer who is at the other end of the connection, by certificate or by address
 * @param request what a proof is for; undefined: at this door none can be shown
 * @returns a promise for what needsTime says of
 * @throws PdpError ERR_UNAUTHENTICATED; ERR_FORBIDDEN for a caller that is known and may not
 */
export function admit(
  admission: Admission | undefined,
  credentials: string | undefined,
  peer: Caller,
  request?: () => ProvenRequest,
): Caller | Promise<Caller> {
  if (admission === undefined) return peer
  const { tokens } = admission
  if (tokens !== undefined && credentials !== undefined && hasForm(credentials)) {
    return admitToken(admission, tokens, credentials, peer, request)
  }
  const caller = credentials === undefined ? peer : callerOfBearer(credentials, admission.verifyToken, peer)
  if (tokens?.takesOpaque === true && caller === undefined && credentials !== undefined && tokenOf(credentials) !== undefined) {
    return admitToken(admission, tokens, credentials, peer, request)
  }
  if (caller?.id === undefined) {
    admission.count('ERR_UNAUTHENTICATED')
    const what = credentials === undefined ? 'a client certificate or a bearer token is required' : 'a valid bearer token is required'
    throw new PdpError('ERR_UNAUTHENTICATED', what)
  }
  return enter(admission, caller, credentials === undefined ? 'certificate' : 'token')
}

/** Whether credentials cannot be looked at at once. */
export function needsTime(admission: Admission | undefined, credentials: string | undefined): boolean {
  if (admission?.tokens === undefined || credentials === undefined) return false
  if (hasForm(credentials)) return true
  const token = admission.tokens.takesOpaque ? tokenOf(credentials) : undefined
  return token !== undefined && admission.verifyToken(token) === undefined
}

/** Whether they are by their form what has to be verified; not whether they are good. */
function hasForm(credentials: string): boolean {
  return isDpop(credentials) || (/^Bearer ey/i.test(credentials) && credentials.includes('.'))
}

function isDpop(credentials: string): boolean {
  return /^DPoP /i.test(credentials)
}

async function admitToken(
  admission: Admission,
  tokens: CallerTokens,
  credentials: string,
  peer: Caller,
  request: (() => ProvenRequest) | undefined,
): Promise<Caller> {
  const isProven = isDpop(credentials)
  const token = credentials.slice(credentials.indexOf(' ') + 1)
  try {
    if (isProven && request === undefined) throw new PdpError('ERR_TOKEN_INVALID', 'no proof can be shown at this door')
    const { caller, nextNonce } = await tokens.verify({ token, certificate: certificateOf(peer), request: isProven ? request : undefined })
    const known = { ...caller, address: peer.address }
    if (nextNonce !== undefined) nextNonces.set(known, nextNonce)
    return enter(admission, known, 'token')
  } catch (thrown) {
    const cause = toPdpError(thrown)
    // What is no matter of the credentials is told as it is.
    if (cause.code === 'ERR_FORBIDDEN' || cause.code === 'ERR_OVERLOADED' || cause.code === 'ERR_INTERNAL') throw cause
    admission.count('ERR_UNAUTHENTICATED')
    throw new PdpError('ERR_UNAUTHENTICATED', cause.message, { cause, challenge: challengeOf(cause, isProven, tokens) })
  }
}

function challengeOf({ challenge }: PdpError, isProven: boolean, { proofAlgorithms }: CallerTokens): PdpError['challenge'] {
  const error = challenge?.error ?? 'invalid_token'
  const dpop = `DPoP error="${error}", algs="${proofAlgorithms?.join(' ')}"`
  const bearer = `Bearer error="${error}"`
  return { error, nonce: challenge?.nonce, authenticate: isProven && proofAlgorithms !== undefined ? dpop : bearer }
}

function enter(admission: Admission, caller: Caller, how: 'certificate' | 'token'): Caller {
  if (!admission.mayEnter(caller)) {
    admission.count('ERR_FORBIDDEN')
    throw new PdpError('ERR_FORBIDDEN', `\`${caller.id}\` may not do this`)
  }
  admission.count(how)
  return caller
}

/** Undefined: nobody who is known. */
function callerOfBearer(credentials: string, verify: TokenVerifier, { address }: Caller): Caller | undefined {
  const token = tokenOf(credentials)
  const caller = token === undefined ? undefined : verify(token)
  return caller && { ...caller, address }
}

function tokenOf(credentials: string): string | undefined {
  return /^Bearer ([A-Za-z0-9._~+/-]+=*)$/i.exec(credentials)?.[1]
}
