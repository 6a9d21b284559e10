// JSON Web Tokens of callers: what a verified token makes of its bearer, and that it is bound to the one who shows it.
import type { Config } from './config.ts'
import type { Caller } from './decision/request.ts'
import { checkBinding } from './identity/jwt.ts'
import type { TrustDomains } from './identity/trust-domains.ts'
import type { IsolationStore } from './state/isolation-store.ts'
import { createTokenVerifier } from './token-verifier.ts'

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

/** @throws PdpError ERR_CONFIG_INVALID for a file */
export async function createCallerTokens(
  { authentication }: Config,
  domains: TrustDomains,
  isolations: IsolationStore,
  onError: (message: string) => void,
): Promise<CallerTokens> {
  const { issuers, audiences } = authentication
  const rules = { where: 'authentication.issuers', issuers, audiences, svidKeys: svidKeysOf(authentication, domains) }
  const { verify, ...verifier } = await createTokenVerifier(rules, isolations, onError)
  return {
    ...verifier,
    verify:
      verify &&
      (async (token, certificate) => {
        const verified = await verify(token, Date.now(), (claims) => checkBinding(claims, certificate))
        const { subject, clientId, scopes } = verified.holder
        if (verified.isSvid) return { authenticated: true, id: subject }
        const { authority: issuer } = verified
        // Two issuers may have the same subject, and no issuer has a bar.
        return { authenticated: true, id: `${issuer}|${subject}`, issuer, clientId, scopes }
      }),
  }
}

/** Undefined: no trust domain has any. */
export function svidKeysOf({ trustDomains }: Config['authentication'], domains: TrustDomains) {
  return trustDomains.some(({ jwksFile }) => jwksFile !== undefined) ? (domain: string) => domains.keysOf(domain) : undefined
}
