// JSON Web Tokens of callers, composed from the configuration: access tokens of issuers, JWT-SVIDs of trust domains, and what of
// them was revoked. How a token is read and verified is known below src/identity/.
import type { Config } from './config.ts'
import type { Caller } from './decision/request.ts'
import { PdpError } from './errors.ts'
import { type IssuerRules, verifyAccessToken } from './identity/access-token.ts'
import { readKeySet, replaceEach } from './identity/files.ts'
import { checkBinding, type ParsedJwt, parseJwt } from './identity/jwt.ts'
import { verifyJwtSvid } from './identity/jwt-svid.ts'
import { RemoteKeys } from './identity/remote-keys.ts'
import type { TrustDomains } from './identity/trust-domains.ts'
import { watchFiles } from './identity/watched-files.ts'
import type { IsolationStore } from './state/isolation-store.ts'

export interface CallerTokens {
  /**
   * Undefined: no token of this form is taken.
   * @param certificate SHA-256 of what the peer showed, base64url
   * @throws PdpError ERR_TOKEN_INVALID, ERR_REVOKED
   */
  readonly verify: ((token: string, certificate: string | undefined) => Promise<Caller>) | undefined
  /** Issuers whose keys cannot be had. */
  notReady(): string[]
  close(): void
}

type ErrorLog = (message: string) => void

/** Resolves when every issuer was asked for its keys once, whatever came of it. @throws PdpError ERR_CONFIG_INVALID for a file */
export async function createCallerTokens(
  { authentication }: Config,
  domains: TrustDomains,
  isolations: IsolationStore,
  onError: ErrorLog,
): Promise<CallerTokens> {
  const { issuers, trustDomains, audiences } = authentication
  const sources = new Map(issuers.map((one) => [one.issuer, keysOf(one, onError)]))
  const rules = new Map<unknown, IssuerRules>(
    issuers.map((one) => [
      one.issuer,
      {
        ...one,
        types: one.types.map((type) => type.toLowerCase().replace(/^application\//, '')),
        audiences,
        required: one.requiredClaims,
        keys: (sources.get(one.issuer) as Source).keys,
      },
    ]),
  )
  await Promise.all([...sources.values()].map((source) => source.start()))
  const isTaken = issuers.length > 0 || trustDomains.some(({ jwksFile }) => jwksFile !== undefined)
  return {
    verify: isTaken ? verify : undefined,
    notReady: () =>
      [...sources].flatMap(([issuer, { isUsable }]) => (isUsable() ? [] : [`the keys of the issuer \`${issuer}\` cannot be had`])),
    close() {
      for (const source of sources.values()) source.close()
    },
  }

  async function verify(token: string, certificate: string | undefined): Promise<Caller> {
    const nowMs = Date.now()
    const parsed = parseJwt(token)
    const rule = rules.get(parsed.claims.iss)
    const { caller, authority } = rule === undefined ? await verifySvid(parsed, nowMs) : await verifyAccess(parsed, rule, nowMs)
    checkBinding(parsed.claims, certificate)
    checkRevoked(parsed, authority, nowMs)
    return caller
  }

  async function verifyAccess(parsed: ParsedJwt, rule: IssuerRules, nowMs: number) {
    return { caller: await verifyAccessToken(parsed, rule, nowMs), authority: rule.issuer }
  }

  async function verifySvid(parsed: ParsedJwt, nowMs: number) {
    const { text, trustDomain } = await verifyJwtSvid(parsed, audiences, (domain) => domains.keysOf(domain), nowMs)
    return { caller: { authenticated: true, id: text }, authority: trustDomain }
  }

  function checkRevoked({ header, claims }: ParsedJwt, authority: string, nowMs: number): void {
    const { jti, sid, iat } = claims
    const facts = {
      authority,
      jti: typeof jti === 'string' ? jti : undefined,
      kid: header.kid,
      session: typeof sid === 'string' ? sid : undefined,
      issuedAtMs: typeof iat === 'number' ? iat * 1_000 : undefined,
    }
    if (isolations.findToken(facts, nowMs) !== undefined) throw new PdpError('ERR_REVOKED', 'the token was revoked')
  }
}

interface Source {
  readonly keys: IssuerRules['keys']
  start(): Promise<void>
  isUsable(): boolean
  close(): void
}

function keysOf(
  { issuer, jwksUrl, jwksFile, refreshMs, cooldownMs, maxStaleMs, timeoutMs }: Config['authentication']['issuers'][number],
  onError: ErrorLog,
): Source {
  if (jwksUrl !== undefined) {
    const remote = new RemoteKeys({ url: jwksUrl, refreshMs, cooldownMs, maxStaleMs, timeoutMs, onError })
    return {
      keys: (isKnown) => remote.get(isKnown),
      start: () => remote.start(),
      isUsable: () => remote.isUsable,
      close: () => remote.close(),
    }
  }
  const file = jwksFile as string
  const read = () => readKeySet(file, 'sig', `authentication.issuers: \`${issuer}\``)
  let set = read()
  const change = () => {
    set = read()
  }
  const stop = watchFiles([file], () => void replaceEach([change], (_, message) => onError(message)))
  return { keys: async () => set, start: async () => {}, isUsable: () => true, close: stop }
}
