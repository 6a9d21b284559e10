// Tokens that one kind of bearer brings, callers or subjects: access tokens of issuers and JWT-SVIDs of trust domains, by
// the rules and for the audiences of that kind, and what of them was revoked. How a token is read and verified is known below
// src/identity/; what becomes of one that was verified, where it is asked for.
import { createHash } from 'node:crypto'
import type { Config } from './config.ts'
import type { JsonText } from './decision/request.ts'
import { PdpError } from './errors.ts'
import { holderOf, type IssuerRules, inspectAccessToken, type TokenHolder, verifyAccessToken } from './identity/access-token.ts'
import { readKeySet, replaceEach } from './identity/files.ts'
import { Introspection } from './identity/introspection.ts'
import { looksLikeJwt, type ParsedJwt, parseJwt, refused } from './identity/jwt.ts'
import { verifyJwtSvid } from './identity/jwt-svid.ts'
import type { KeySet } from './identity/key-set.ts'
import { RemoteKeys } from './identity/remote-keys.ts'
import type { TrustDomains } from './identity/trust-domains.ts'
import { watchFiles } from './identity/watched-files.ts'
import type { IsolationStore } from './state/isolation-store.ts'
import type { SeenStore } from './state/seen-store.ts'

/** What holds for tokens of one kind of bearer. */
export interface TokenRules {
  /** The setting, for messages. */
  readonly where: string
  readonly audiences: readonly string[]
  readonly issuers: readonly Config['authentication']['issuers'][number][]
  /** Keys of JWT-SVIDs of a trust domain; undefined: no JWT-SVIDs are taken. */
  readonly svidKeys: ((trustDomain: string) => KeySet | undefined) | undefined
}

/** A token that was verified. */
export interface VerifiedToken {
  /** Its issuer, or its trust domain. */
  readonly authority: string
  readonly isSvid: boolean
  readonly holder: TokenHolder
  /** Milliseconds since 1970. */
  readonly expiresAtMs: number
  readonly claims: ParsedJwt['claims']
  /** The claims as JSON text. */
  readonly payload: JsonText
}

/** Throws for a token that is not its bearer's. */
export type BindingCheck = (claims: ParsedJwt['claims']) => Promise<void>

export interface TokenVerifier {
  /**
   * Undefined: no token of this form is taken.
   * @param isBound what else must be true of a token that is good by itself; throws where it is not
   * @throws PdpError ERR_TOKEN_INVALID, ERR_REVOKED, ERR_REPLAYED, ERR_OVERLOADED
   */
  readonly verify: ((token: string, nowMs: number, isBound?: BindingCheck) => Promise<VerifiedToken>) | undefined
  /** Whether tokens are taken that only their issuer can read. */
  readonly takesOpaque: boolean
  /** Issuers whose keys cannot be had. */
  notReady(): string[]
  close(): void
}

/** What is told of issuers that are asked for something. */
export interface IssuerNews {
  /** What failed. */
  onError(message: string): void
  /** How long a request took, in milliseconds, and whether there was an answer that can be used. */
  onAsked(request: 'jwks' | 'introspection', ms: number, isAnswered: boolean): void
}

/** What is known of tokens beside what they say. */
export interface TokenStores {
  readonly isolations: IsolationStore
  readonly seen: SeenStore
}

/** Resolves when every issuer was asked for its keys once, whatever came of it. @throws PdpError ERR_CONFIG_INVALID for a file */
export async function createTokenVerifier(
  { where, audiences, issuers, svidKeys }: TokenRules,
  { isolations, seen }: TokenStores,
  news: IssuerNews,
): Promise<TokenVerifier> {
  const sources = new Map(issuers.map((one) => [one.issuer, sourceOf(one, where, news)]))
  const rules = new Map<unknown, IssuerRules>(
    issuers.map((one) => [
      one.issuer,
      {
        ...one,
        types: one.types.map((type) => type.toLowerCase().replace(/^application\//, '')),
        audiences,
        required: one.requiredClaims ?? (one.introspection === undefined ? ofAccessTokens : ofInspected),
        ...(sources.get(one.issuer) as Source),
      },
    ]),
  )
  const inspecting = [...rules.values()].find(({ inspect }) => inspect !== undefined)
  await Promise.all([...sources.values()].map((source) => source.start()))
  return {
    verify: issuers.length > 0 || svidKeys !== undefined ? verify : undefined,
    takesOpaque: inspecting !== undefined,
    notReady: () =>
      [...sources].flatMap(([issuer, { isUsable }]) => (isUsable() ? [] : [`the keys of the issuer \`${issuer}\` cannot be had`])),
    close() {
      for (const source of sources.values()) source.close()
    },
  }

  async function verify(token: string, nowMs: number, isBound?: BindingCheck): Promise<VerifiedToken> {
    // Of what is no JSON Web Token by its form, only one issuer can know what it is.
    const parsed = inspecting === undefined || looksLikeJwt(token) ? parseJwt(token) : undefined
    const rule = parsed === undefined ? inspecting : rules.get(parsed.claims.iss)
    const verified = await verifyBy(rule, token, parsed, nowMs)
    await isBound?.(verified.claims)
    checkRevoked(verified, parsed?.header.kid, nowMs)
    if (rule?.oneTime === true) spend(verified, rule)
    return verified
  }

  async function verifyBy(
    rule: IssuerRules | undefined,
    token: string,
    parsed: ParsedJwt | undefined,
    nowMs: number,
  ): Promise<VerifiedToken> {
    if (rule?.inspect !== undefined) {
      const { holder, ...inspected } = await inspectAccessToken(token, { ...rule, inspect: rule.inspect }, nowMs)
      return verifiedOf(rule.issuer, false, holder, inspected)
    }
    if (parsed === undefined) throw refused('malformed_token', 'it is none')
    if (rule === undefined) return verifySvid(parsed, nowMs)
    const holder = await verifyAccessToken(parsed, rule, nowMs)
    return verifiedOf(rule.issuer, false, holder, parsed)
  }

  async function verifySvid(parsed: ParsedJwt, nowMs: number): Promise<VerifiedToken> {
    const { trustDomain } = await verifyJwtSvid(parsed, audiences, (domain) => svidKeys?.(domain), nowMs)
    return verifiedOf(trustDomain, true, holderOf(parsed.claims), parsed)
  }

  /** By the issuer's ID of it, so that another spelling or signature does not make it another token. */
  function spend({ authority, claims }: VerifiedToken, { clockSkewMs }: IssuerRules): void {
    const { jti, exp } = claims
    if (typeof jti !== 'string') throw refused('missing_claim', 'the claim `jti` is missing')
    const digest = createHash('sha256').update(`jti\0${authority}\0${jti}`).digest()
    if (!seen.take(digest, (exp as number) * 1_000 + clockSkewMs))
      throw new PdpError('ERR_REPLAYED', 'the token counts once, and was seen before')
  }

  function checkRevoked({ authority, claims }: VerifiedToken, kid: string | undefined, nowMs: number): void {
    const { jti, sid, iat } = claims
    const facts = {
      authority,
      jti: typeof jti === 'string' ? jti : undefined,
      kid,
      session: typeof sid === 'string' ? sid : undefined,
      issuedAtMs: typeof iat === 'number' ? iat * 1_000 : undefined,
    }
    if (isolations.findToken(facts, nowMs) !== undefined) throw new PdpError('ERR_REVOKED', 'the token was revoked')
  }
}

function verifiedOf(
  authority: string,
  isSvid: boolean,
  holder: TokenHolder,
  { claims, payload }: Pick<ParsedJwt, 'claims' | 'payload'>,
): VerifiedToken {
  return { authority, isSvid, holder, expiresAtMs: (claims.exp as number) * 1_000, claims, payload }
}

/** Undefined: no trust domain has any. */
export function svidKeysOf({ trustDomains }: Config['authentication'], domains: TrustDomains) {
  return trustDomains.some(({ jwksFile }) => jwksFile !== undefined) ? (domain: string) => domains.keysOf(domain) : undefined
}

/** RFC 9068 §2.2, beside `exp` and `aud`. */
const ofAccessTokens = ['iss', 'sub', 'client_id', 'iat', 'jti']
const ofInspected = ['sub']

interface Source extends Pick<IssuerRules, 'keys' | 'inspect'> {
  start(): Promise<void>
  isUsable(): boolean
  close(): void
}

/** How tokens of an issuer are verified. */
function sourceOf(rules: TokenRules['issuers'][number], where: string, news: IssuerNews): Source {
  const { onError } = news
  const onAsked = (request: 'jwks' | 'introspection') => (ms: number, isAnswered: boolean) => news.onAsked(request, ms, isAnswered)
  const { issuer, jwksUrl, jwksFile, introspection, refreshMs, cooldownMs, maxStaleMs, timeoutMs } = rules
  if (introspection !== undefined) {
    const { keyFile, keyAlgorithm, keyId, audience = issuer, ...known } = introspection
    const key = keyFile === undefined ? undefined : { file: keyFile, algorithm: keyAlgorithm, id: keyId }
    const asked = new Introspection({ ...known, key, audience, timeoutMs, onError, onAsked: onAsked('introspection') })
    return {
      keys: async () => undefined,
      inspect: (token, nowMs) => asked.inspect(token, nowMs),
      start: async () => {},
      isUsable: () => true,
      close: () => asked.close(),
    }
  }
  if (jwksUrl !== undefined) {
    const remote = new RemoteKeys({ url: jwksUrl, refreshMs, cooldownMs, maxStaleMs, timeoutMs, onError, onAsked: onAsked('jwks') })
    return {
      keys: (isKnown) => remote.get(isKnown),
      inspect: undefined,
      start: () => remote.start(),
      isUsable: () => remote.isUsable,
      close: () => remote.close(),
    }
  }
  const file = jwksFile as string
  const read = () => readKeySet(file, 'sig', `${where}: \`${issuer}\``)
  let set = read()
  const change = () => {
    set = read()
  }
  const stop = watchFiles([file], () => void replaceEach([change], (_, message) => onError(message)))
  return { keys: async () => set, inspect: undefined, start: async () => {}, isUsable: () => true, close: stop }
}
