// OAuth access tokens as JSON Web Tokens: whose token it is, by the rules of the issuer that it names and by no other's.
// @see RFC 9068
import type { JsonText } from '../decision/request.ts'
import { checkClaims, type JwtRules, maxLength, type ParsedJwt, refused, verifyJwt } from './jwt.ts'
import type { KeySet } from './key-set.ts'

export interface IssuerRules extends JwtRules {
  /** Exactly as `iss` says it. */
  readonly issuer: string
  /** Whether each of its tokens counts once. */
  readonly oneTime: boolean
  /** @returns keys that count, the one of a header among them where it can be had; undefined: none count now */
  readonly keys: (isKnown: (keys: KeySet) => boolean) => Promise<KeySet | undefined>
  /** Instead of keys: asks the issuer. @returns the claims as JSON text @throws PdpError ERR_TOKEN_INVALID */
  readonly inspect: ((token: string, nowMs: number) => Promise<JsonText>) | undefined
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

/**
 * Asks the issuer of a token that only it can read.
 * @throws PdpError ERR_TOKEN_INVALID
 */
export async function inspectAccessToken(
  token: string,
  rules: IssuerRules & { readonly inspect: NonNullable<IssuerRules['inspect']> },
  nowMs: number,
): Promise<{ readonly holder: TokenHolder; readonly claims: ParsedJwt['claims']; readonly payload: JsonText }> {
  if (token.length > maxLength || !/^[A-Za-z0-9._~+/-]+=*$/.test(token)) throw refused('malformed_token', 'it is none')
  const payload = await rules.inspect(token, nowMs)
  const claims = JSON.parse(payload) as ParsedJwt['claims']
  if (claims.iss !== undefined && claims.iss !== rules.issuer) throw refused('unknown_issuer', 'it is of another issuer')
  checkClaims(claims, rules, nowMs)
  return { holder: holderOf(claims), claims, payload }
}

/** @param claims that were verified @throws PdpError ERR_TOKEN_INVALID for what is not of its type */
export function holderOf({ sub, client_id: clientId, scope }: ParsedJwt['claims']): TokenHolder {
  if (typeof sub !== 'string' || sub === '') throw refused('malformed_claim', 'the claim `sub` is none')
  if (clientId !== undefined && typeof clientId !== 'string') throw refused('malformed_claim', 'the claim `client_id` is none')
  if (scope !== undefined && typeof scope !== 'string') throw refused('malformed_claim', 'the claim `scope` is none')
  return { subject: sub, clientId, scopes: scope?.split(' ').filter(Boolean) }
}
