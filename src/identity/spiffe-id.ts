// SPIFFE IDs: what is one, its trust domain, and patterns that are compared segment by segment.
// @see https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md
import { PdpError } from '../errors.ts'

export interface SpiffeId {
  /** The whole of it, `spiffe://domain/path`. */
  readonly text: string
  readonly trustDomain: string
  /** At least one. */
  readonly segments: readonly string[]
}

const maxLength = 2_048
const maxDomainLength = 255
const domainForm = /^[a-z0-9._-]+$/
const segmentForm = /^[A-Za-z0-9._-]+$/

/**
 * Of a workload: the path is not empty.
 * @throws PdpError ERR_CERTIFICATE_REFUSED with what is wrong
 */
export function parseSpiffeId(text: string): SpiffeId {
  if (text.length > maxLength) throw refused(text, `it has more than ${maxLength} characters`)
  if (!text.startsWith('spiffe://')) throw refused(text, 'it must begin with `spiffe://`')
  const [trustDomain = '', ...segments] = text.slice('spiffe://'.length).split('/')
  if (!isTrustDomain(trustDomain)) {
    throw refused(text, isTrustDomain(trustDomain.toLowerCase()) ? 'its trust domain must be in lower case' : 'its trust domain is none')
  }
  if (segments.length === 0) throw refused(text, 'it has no path, and so names a trust domain and no workload')
  for (const segment of segments) {
    if (segment === '') throw refused(text, 'a segment of its path is empty')
    if (segment === '.' || segment === '..') throw refused(text, 'its path must not be relative')
    if (!segmentForm.test(segment)) throw refused(text, 'its path may have letters, digits, `.`, `-` and `_` only')
  }
  return { text, trustDomain, segments }
}

function isTrustDomain(name: string): boolean {
  return name.length <= maxDomainLength && domainForm.test(name)
}

/**
 * A pattern of IDs: `*` stands for one whole segment, `**` at the end for one or more.
 * @returns whether an ID is meant
 * @throws PdpError ERR_CONFIG_INVALID for what is no pattern
 */
export function spiffePattern(pattern: string): (id: SpiffeId) => boolean {
  const [domain = '', ...parts] = pattern.replace(/^spiffe:\/\//, '').split('/')
  const isOpen = parts.at(-1) === '**'
  const fixed = isOpen ? parts.slice(0, -1) : parts
  const isPattern =
    pattern.startsWith('spiffe://') &&
    isTrustDomain(domain) &&
    parts.length > 0 &&
    fixed.every((part) => part === '*' || (segmentForm.test(part) && part !== '.' && part !== '..'))
  if (!isPattern) {
    throw new PdpError(
      'ERR_CONFIG_INVALID',
      `\`${pattern.slice(0, 256)}\` is no SPIFFE ID: \`spiffe://domain/a/b\`, with \`*\` for a segment and \`**\` for all that follow`,
    )
  }
  return ({ trustDomain, segments }) =>
    trustDomain === domain &&
    (isOpen ? segments.length > fixed.length : segments.length === fixed.length) &&
    fixed.every((part, i) => part === '*' || part === segments[i])
}

function refused(text: string, what: string): PdpError {
  return new PdpError(
    'ERR_CERTIFICATE_REFUSED',
    `\`${text.slice(0, 128).replace(/[^\x20-\x7e]/g, '?')}\` is no SPIFFE ID of a workload: ${what}`,
  )
}
