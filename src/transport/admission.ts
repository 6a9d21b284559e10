// Who a request is of, by what its connection and its credentials say, and whether a scope lets them in. Not where identities come
// from: verifiers are passed in.
// @see RFC 6750 §2.1
import type { Caller } from '../decision/request.ts'
import { PdpError } from '../errors.ts'
import { certificateOf } from './secure-connections.ts'

/** Finds the caller that a bearer token belongs to; undefined for one that is not known. */
export type TokenVerifier = (token: string) => Caller | undefined

/** What a scope asks for. */
export interface Admission {
  readonly verifyToken: TokenVerifier
  /** Finds the caller of a JSON Web Token, which takes time. @throws PdpError ERR_TOKEN_INVALID; undefined: tokens of that form are like others */
  readonly verifyJwt?: ((token: string, certificate: string | undefined) => Promise<Caller>) | undefined
  /** Whether a caller that is known may enter. */
  readonly mayEnter: (caller: Caller) => boolean
  /** Told of every request: how its caller is known, or why it is refused. */
  readonly count: (outcome: AdmissionOutcome) => void
}

export type AdmissionOutcome = 'certificate' | 'token' | 'ERR_UNAUTHENTICATED' | 'ERR_FORBIDDEN'

/**
 * @param admission undefined: anybody may enter
 * @param credentials the value of an Authorization field; where it is there, it is who calls
 * @param peer who is at the other end of the connection, by certificate or by address
 * @returns a promise for what needsTime says of
 * @throws PdpError ERR_UNAUTHENTICATED; ERR_FORBIDDEN for a caller that is known and may not
 */
export function admit(admission: Admission | undefined, credentials: string | undefined, peer: Caller): Caller | Promise<Caller> {
  if (admission === undefined) return peer
  const { verifyJwt } = admission
  if (verifyJwt !== undefined && credentials !== undefined && isJwt(credentials)) {
    return verifyJwt(credentials.slice('Bearer '.length), certificateOf(peer)).then(
      (caller) => enter(admission, { ...caller, address: peer.address }, 'token'),
      (cause: Error) => {
        admission.count('ERR_UNAUTHENTICATED')
        throw new PdpError('ERR_UNAUTHENTICATED', cause.message, { cause })
      },
    )
  }
  const caller = credentials === undefined ? peer : callerOfBearer(credentials, admission.verifyToken, peer)
  if (caller?.id === undefined) {
    admission.count('ERR_UNAUTHENTICATED')
    const what = credentials === undefined ? 'a client certificate or a bearer token is required' : 'a valid bearer token is required'
    throw new PdpError('ERR_UNAUTHENTICATED', what)
  }
  return enter(admission, caller, credentials === undefined ? 'certificate' : 'token')
}

/** Whether credentials cannot be looked at at once. */
export function needsTime(admission: Admission | undefined, credentials: string | undefined): boolean {
  return admission?.verifyJwt !== undefined && credentials !== undefined && isJwt(credentials)
}

/** Not whether it is a good one. */
function isJwt(credentials: string): boolean {
  return /^Bearer ey/i.test(credentials) && credentials.includes('.')
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
  const [, token] = /^Bearer ([A-Za-z0-9._~+/-]+=*)$/i.exec(credentials) ?? []
  const caller = token === undefined ? undefined : verify(token)
  return caller && { ...caller, address }
}
