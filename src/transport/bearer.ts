// Bearer credentials, wherever a protocol carries them. Not where identities come from: verifiers are passed in.
// @see RFC 6750 §2.1
import type { Caller } from '../decision/request.ts'
import { PdpError } from '../errors.ts'

/** Finds the caller that a bearer token belongs to; undefined for one that is not known. */
export type TokenVerifier = (token: string) => Caller | undefined

/**
 * @param credentials the value of an Authorization field
 * @throws PdpError ERR_UNAUTHENTICATED
 */
export function callerOfBearer(credentials: string | undefined, verify: TokenVerifier): Caller {
  const [, token] = /^Bearer ([A-Za-z0-9._~+/-]+=*)$/i.exec(credentials ?? '') ?? []
  const caller = token === undefined ? undefined : verify(token)
  if (caller === undefined) throw new PdpError('ERR_UNAUTHENTICATED', 'a valid bearer token is required')
  return caller
}
