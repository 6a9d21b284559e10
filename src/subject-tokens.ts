// Tokens of subjects: by their own rules and for their own audiences, since a token for this service says who calls it and not on
// whose behalf. What is told of one is a short list, and what it is bound to, which the policy may hold against what it sees.

import type { Config } from './config.ts'
import { membersOf, parsePointer, toSingleLine } from './decision/json-text.ts'
import type { JsonText, VerifiedSubject } from './decision/request.ts'
import type { TrustDomains } from './identity/trust-domains.ts'
import { createTokenVerifier, type IssuerNews, svidKeysOf, type TokenStores, type VerifiedToken } from './token-verifier.ts'

export interface SubjectTokens {
  /** Undefined: no issuer is configured. @throws PdpError ERR_TOKEN_INVALID, ERR_REVOKED, ERR_REPLAYED, ERR_OVERLOADED */
  readonly verify: ((token: string, nowMs: number) => Promise<VerifiedSubject>) | undefined
  /** Issuers whose keys cannot be had. */
  notReady(): string[]
  close(): void
}

/** Claims of a JWT-SVID, which has few. */
const svidClaims = { sub: '/sub' }

/** @throws PdpError ERR_CONFIG_INVALID for a file */
export async function createSubjectTokens(
  { authentication }: Config,
  domains: TrustDomains,
  stores: TokenStores,
  news: IssuerNews,
): Promise<SubjectTokens> {
  const { issuers, audiences } = authentication.subjects
  const svidKeys = audiences.length === 0 ? undefined : svidKeysOf(authentication, domains)
  const {
    verify,
    takesOpaque: _,
    ...verifier
  } = await createTokenVerifier({ where: 'authentication.subjects.issuers', issuers, audiences, svidKeys }, stores, news)
  const claims = new Map(issuers.map((one) => [one.issuer, one.claims]))
  return {
    ...verifier,
    verify:
      verify &&
      (async (token, nowMs) => {
        const verified = await verify(token, nowMs)
        const { authority, isSvid, holder, expiresAtMs } = verified
        const listed = isSvid ? svidClaims : (claims.get(authority) ?? {})
        return { id: holder.subject, authority, clientId: holder.clientId, claims: listOf(verified, listed), expiresAtMs }
      }),
  }
}

function listOf({ payload, claims }: VerifiedToken, listed: Readonly<Record<string, string>>): JsonText {
  const all = { ...listed, ...(claims.cnf !== undefined && { cnf: '/cnf' }) }
  const members = Object.entries(all).flatMap(([name, pointer]) => {
    const value = at(payload, pointer)
    return value === undefined ? [] : [`${JSON.stringify(name)}:${value}`]
  })
  return toSingleLine(`{${members.join(',')}}`)
}

/** @param pointer RFC 6901, to members of objects */
function at(json: JsonText, pointer: string): JsonText | undefined {
  let found: JsonText | undefined = json
  for (const part of parsePointer(pointer)) {
    if (found === undefined) return undefined
    found = membersOf(found).get(part)
  }
  return found
}
