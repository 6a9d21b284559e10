// OAuth access tokens as JSON Web Tokens: whose token it is, by the rules of the issuer that it names and by no other's.
// @see RFC 9068
import { type JwtRules, type ParsedJwt, refused, verifyJwt } from './jwt.ts'
import type { KeySet } from './key-set.ts'

export interface IssuerRules extends JwtRules {
  /** Exactly as `iss` says it. */
  readonly issuer: string
  /** Whether each of its tokens counts once. */
  readonly oneTime: boolean
  /** @returns keys that count, the one of a header among them where it can be had; undefined: none count now */
  readonly keys: (isKnown: (keys: KeySet) => boolean) => Promise<KeySet | undefined>
}

/** Whose a token is, and what it was given for. */
export interface TokenHolder {
  readonly subject: string
  readonly clientId: string | undefined
  readonly scopes: readonly string[] | undefined
}

/** Verifies a token of an issuer. @throws PdpError ERR_TOKEN_INVALID */
export async function verifyAccessToken(parsed: ParsedJwt, rules: IssuerRules, nowMs: number): Promise<TokenHolder> {
  if (!rules.algorithms.includes(parsed.header.alg)) throw refused('alg_not_allowed', 'its algorithm is not taken')
  const keys = await rules.keys((set) => set.find(parsed.header) !== undefined)
  if (keys === undefined) throw refused('unknown_kid', 'the keys of its issuer cannot be had')
  await verifyJwt(parsed, rules, keys.find, nowMs)
  return holderOf(parsed.claims)
}

/** @param claims that were verified @throws PdpError ERR_TOKEN_INVALID for what is not of its type */
export function holderOf({ sub, client_id: clientId, scope }: ParsedJwt['claims']): TokenHolder {
  if (typeof sub !== 'string' || sub === '') throw refused('malformed_claim', 'the claim `sub` is none')
  if (clientId !== undefined && typeof clientId !== 'string') throw refused('malformed_claim', 'the claim `client_id` is none')
  if (scope !== undefined && typeof scope !== 'string') throw refused('malformed_claim', 'the claim `scope` is none')
  return { subject: sub, clientId, scopes: scope?.split(' ').filter(Boolean) }
}
