// Tokens of callers that have to be verified: what one makes of its bearer, and that it is bound to the one who shows it.
import type { Config } from './config.ts'
import { PdpError } from './errors.ts'
import { Nonces, type Proof, type ProofRules, verifyProof } from './identity/dpop.ts'
import { checkBinding, refused } from './identity/jwt.ts'
import type { TrustDomains } from './identity/trust-domains.ts'
import { createTokenVerifier, type IssuerNews, svidKeysOf, type TokenStores } from './token-verifier.ts'
import type { AdmittedToken, CallerTokens, ShownToken } from './transport/admission.ts'

export interface ClosableCallerTokens {
  /** Undefined: none are taken. */
  readonly tokens: CallerTokens | undefined
  /** Issuers whose keys cannot be had. */
  notReady(): string[]
  close(): void
}

/**
 * @param hosts names that are served, in lower case; undefined: any
 * @throws PdpError ERR_CONFIG_INVALID for a file
 */
export async function createCallerTokens(
  { authentication, server }: Config,
  hosts: ReadonlySet<string> | undefined,
  domains: TrustDomains,
  stores: TokenStores,
  news: IssuerNews,
): Promise<ClosableCallerTokens> {
  const { issuers, audiences, dpop } = authentication
  const tokenRules = { where: 'authentication.issuers', issuers, audiences, svidKeys: svidKeysOf(authentication, domains) }
  const { verify, takesOpaque, ...verifier } = await createTokenVerifier(tokenRules, stores, news)
  const proofRules: ProofRules | undefined = dpop.enabled
    ? {
        ...dpop,
        nonces: dpop.nonces ? new Nonces(dpop.maxAgeMs) : undefined,
        scheme: server.tls === undefined ? 'http' : 'https',
        hosts,
      }
    : undefined
  return {
    ...verifier,
    tokens: verify && { verify: verifyShown, takesOpaque, proofAlgorithms: proofRules?.algorithms },
  }

  async function verifyShown({ token, certificate, request }: ShownToken): Promise<AdmittedToken> {
    const nowMs = Date.now()
    let proof: Proof | undefined
    const verified = await (verify as NonNullable<typeof verify>)(token, nowMs, async (claims) => {
      if (request !== undefined) {
        if (proofRules === undefined) throw refused('wrong_binding', 'no proofs are taken')
        proof = await verifyProof(request(), token, proofRules, nowMs)
      }
      checkBinding(claims, { certificate, thumbprint: proof?.thumbprint })
      if (proof !== undefined && !stores.seen.take(proof.digest, proof.untilMs)) throw replayed()
    })
    const { authority, isSvid, holder, expiresAtMs } = verified
    const { subject, clientId, scopes } = holder
    const caller = isSvid
      ? { authenticated: true, id: subject, expiresAtMs }
      : // Two issuers may have the same subject, and no issuer has a bar.
        { authenticated: true, id: `${authority}|${subject}`, issuer: authority, clientId, scopes, expiresAtMs }
    return { caller, nextNonce: proof?.nextNonce }
  }
}

function replayed(): PdpError {
  return new PdpError('ERR_REPLAYED', 'replayed: the proof is refused: it was seen before', { challenge: { error: 'invalid_dpop_proof' } })
}
