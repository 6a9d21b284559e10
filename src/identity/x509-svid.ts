// X509-SVIDs: whether a certificate names a workload, and whether the trust domain that it names vouches for it. Trust domains are
// never pooled: TLS has verified the chain against the authorities of all of them, and here it is followed again with those of one.
// @see https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md
import type { X509Certificate } from 'node:crypto'
import { PdpError } from '../errors.ts'
import { parseSpiffeId, type SpiffeId } from './spiffe-id.ts'
import { type CertificateFacts, factsOf, type RevocationList, subjectOf } from './x509.ts'

/** What vouches for the workloads of a trust domain. */
export interface TrustBundle {
  /** Empty: nobody of the domain is believed. */
  readonly authorities: readonly X509Certificate[]
  /** Undefined: nothing is taken back but by expiry; else every issuer must have a list that is not out of date. */
  readonly lists: readonly RevocationList[] | undefined
}

export interface Svid {
  readonly id: SpiffeId
  /** Milliseconds since 1970: when the first certificate of its chain expires, or the first list that it was held against. */
  readonly validUntilMs: number
}

const maxChainLength = 8

/**
 * @param chain as the peer sent it, its own certificate first
 * @param bundles by trust domain
 * @throws PdpError ERR_CERTIFICATE_REFUSED
 */
export function verifySvid(chain: readonly X509Certificate[], bundles: ReadonlyMap<string, TrustBundle>, nowMs: number): Svid {
  const [leaf, ...sent] = chain
  if (leaf === undefined) throw refused('there is no certificate')
  const id = idOf(factsOf(leaf))
  const bundle = bundles.get(id.trustDomain)
  if (bundle === undefined) throw refused(`nothing is known of the trust domain \`${id.trustDomain}\``)
  if (bundle.authorities.length === 0) throw refused(`the trust domain \`${id.trustDomain}\` has no authorities`)
  const others = [...bundles.values()].filter((one) => one !== bundle).flatMap(({ authorities }) => authorities)
  const path = follow(leaf, sent, bundle.authorities, others, id)
  for (const certificate of path) checkTime(certificate, nowMs)
  const updates = path.slice(0, -1).map((one, i) => checkLists(one, path[i + 1] as X509Certificate, bundle.lists, nowMs))
  return { id, validUntilMs: Math.min(...path.map(({ validTo }) => Date.parse(validTo)), ...updates) }
}

/** @throws PdpError ERR_CERTIFICATE_REFUSED for what no workload may have */
function idOf({ uris, isCa, keyUsage }: CertificateFacts): SpiffeId {
  const [uri] = uris
  if (uri === undefined) throw refused('the certificate has no SPIFFE ID: it must be the one URI among its alternative names')
  if (uris.length > 1) throw refused('the certificate has several URIs, and must have one')
  const id = parseSpiffeId(uri)
  if (isCa) throw refused('the certificate is of an authority, and of no workload')
  if (keyUsage === undefined || !keyUsage.digitalSignature) throw refused('the certificate is not for digital signatures')
  if (!keyUsage.isCritical) throw refused('what the certificate may be used for is not marked as critical')
  if (keyUsage.signsCertificates || keyUsage.signsLists) throw refused('the certificate may sign others, which no workload may')
  return id
}

/** The way from a certificate to an authority of its domain, both included. Where there are two ways, the certificate is refused. */
function follow(
  leaf: X509Certificate,
  sent: readonly X509Certificate[],
  authorities: readonly X509Certificate[],
  others: readonly X509Certificate[],
  { trustDomain }: SpiffeId,
): X509Certificate[] {
  const path = [leaf]
  for (let current = leaf; path.length <= maxChainLength; ) {
    const isIssuer = (candidate: X509Certificate) => current.checkIssued(candidate) && current.verify(candidate.publicKey)
    const own = authorities.filter(isIssuer)
    const seen = new Set([...authorities, ...path].map(({ fingerprint256 }) => fingerprint256))
    const [next, twin] = unique([...sent, ...others].filter((one) => !seen.has(one.fingerprint256) && isIssuer(one)))
    const [authority] = own
    if (authority !== undefined && next === undefined) return [...path, authority]
    // One of them was verified by TLS, with all its constraints, and it cannot be told which.
    if (authority !== undefined || twin !== undefined) throw refused('it is issued by more than one authority')
    if (next === undefined || others.includes(next))
      throw refused(
        `it is not issued by an authority of its trust domain \`${trustDomain}\`; one between must be in the domain's bundle, too, where Node.js does not tell what the peer sent`,
      )
    checkIntermediate(next, path.length - 1, trustDomain)
    path.push(next)
    current = next
  }
  throw refused('its chain is too long')
}

function unique(certificates: readonly X509Certificate[]): X509Certificate[] {
  return [...new Map(certificates.map((one) => [one.fingerprint256, one])).values()]
}

function checkIntermediate(certificate: X509Certificate, below: number, trustDomain: string): void {
  const { isCa, keyUsage, maxPathLength, uris } = factsOf(certificate)
  if (!isCa || keyUsage?.signsCertificates === false) throw refused('a certificate of its chain may not issue others')
  if (maxPathLength !== undefined && below > maxPathLength) throw refused('its chain is longer than an authority of it allows')
  const [uri] = uris
  if (uri !== undefined && uri !== `spiffe://${trustDomain}` && !uri.startsWith(`spiffe://${trustDomain}/`))
    throw refused('an authority of its chain is of another trust domain')
}

function checkTime({ validFrom, validTo }: X509Certificate, nowMs: number): void {
  if (!(nowMs >= Date.parse(validFrom))) throw refused('a certificate of its chain is not valid yet')
  if (!(nowMs < Date.parse(validTo))) throw refused('a certificate of its chain has expired')
}

/** @returns until when the answer holds */
function checkLists(certificate: X509Certificate, issuer: X509Certificate, lists: TrustBundle['lists'], nowMs: number): number {
  if (lists === undefined) return Number.POSITIVE_INFINITY
  const name = subjectOf(issuer)
  const ofIssuer = lists.filter((list) => list.issuer.equals(name) && list.isSignedBy(issuer))
  const current = ofIssuer.filter(({ nextUpdateMs }) => nowMs < nextUpdateMs)
  // Taken back stays taken back, whatever a newer list forgets.
  if (ofIssuer.some(({ serials }) => serials.has(factsOf(certificate).serial))) throw refused('a certificate of its chain was revoked')
  if (current.length === 0) throw refused('there is no revocation list of its issuer that is not out of date')
  return Math.max(...current.map(({ nextUpdateMs }) => nextUpdateMs))
}

function refused(what: string): PdpError {
  return new PdpError('ERR_CERTIFICATE_REFUSED', `the certificate is refused: ${what}`)
}
