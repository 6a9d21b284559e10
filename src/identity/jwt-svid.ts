// JWT-SVIDs: tokens by which workloads show who they are where they cannot show a certificate.
// @see https://github.com/spiffe/spiffe/blob/main/standards/JWT-SVID.md
import { type JwtRules, type ParsedJwt, refused, verifyJwt } from './jwt.ts'
import type { KeySet } from './key-set.ts'
import { parseSpiffeId, type SpiffeId } from './spiffe-id.ts'

const rules: Omit<JwtRules, 'audiences'> = {
  algorithms: ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512'],
  types: [undefined, 'jwt', 'jose'],
  required: ['sub'],
  // Agents issue them for minutes; whoever shows one for longer than a day has it from elsewhere.
  maxLifetimeMs: 86_400_000,
  clockSkewMs: 30_000,
}
/** A header has nothing else. */
const headerFields = new Set(['alg', 'kid', 'typ'])

/**
 * @param keys of a trust domain; undefined: nothing is known of it
 * @throws PdpError ERR_TOKEN_INVALID
 */
export async function verifyJwtSvid(
  parsed: ParsedJwt,
  audiences: readonly string[],
  keys: (trustDomain: string) => KeySet | undefined,
  nowMs: number,
): Promise<SpiffeId> {
  const extra = parsed.fields.find((name) => !headerFields.has(name))
  if (extra !== undefined) throw refused('malformed_token', 'its header has more fields than a JWT-SVID may')
  // Names the domain whose keys are tried, and no more, until one of them has verified it.
  const id = idOf(parsed.claims.sub)
  const found = keys(id.trustDomain)
  if (found === undefined) throw refused('unknown_issuer', 'nothing is known of its trust domain')
  await verifyJwt(parsed, { ...rules, audiences }, found.find, nowMs)
  return id
}

function idOf(sub: unknown): SpiffeId {
  if (typeof sub !== 'string') throw refused('missing_claim', 'the claim `sub` is missing')
  try {
    return parseSpiffeId(sub)
  } catch (cause) {
    throw refused('malformed_claim', 'the claim `sub` is no SPIFFE ID', cause)
  }
}
