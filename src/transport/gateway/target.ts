// The path and the query of a request that a gateway asks about, read in the only way that there is: what another reader could
// take for something else is refused, so that a policy never judges another path than the one that is served.
// @see RFC 3986 §3.3, §6.2.2
import { PdpError } from '../../errors.ts'

export interface Target {
  /** Path and query as they were sent. */
  readonly uri: string
  /** Decoded, beginning with a slash. */
  readonly path: string
  /** Decoded parts between slashes. */
  readonly segments: readonly string[]
  /** Decoded values by decoded name, in order. */
  readonly params: ReadonlyMap<string, readonly string[]>
}

export const maxTargetLength = 8_192

/** Characters that some reader of a path takes for another, or drops. */
const ambiguous = /[\\;\x00-\x20\x7f-\uffff]|\/\/|%(?:2f|5c|2e|00|25|3b)/i
/** RFC 3986's characters of a path, and three that browsers send as they are. */
const pathPattern = /^(?:[A-Za-z0-9._~!$&'()*+,=:@/|[\]-]|%[0-9A-Fa-f]{2})*$/
const dotSegment = /\/\.{1,2}(?:\/|$)/
/** Of what needs none, and of what ends a path for whoever decodes too early. */
const needless = /%(?:3f|23|4[1-9a-f]|5[0-9a]|6[1-9a-f]|7[0-9ae]|3[0-9]|2d|5f)/i

/** Whether a path can be read in two ways; for paths of routes, which are never decoded. */
export function isAmbiguous(path: string): boolean {
  return ambiguous.test(path)
}

/**
 * @param target as in the request line: a path, and a query where there is one
 * @throws PdpError ERR_AMBIGUOUS_PATH
 */
export function parseTarget(target: string): Target {
  if (target.length > maxTargetLength) throw refused(`the request target is longer than \`${maxTargetLength}\` characters`)
  const mark = target.indexOf('?')
  const raw = mark < 0 ? target : target.slice(0, mark)
  const query = mark < 0 ? '' : target.slice(mark + 1)
  if (!raw.startsWith('/') || !pathPattern.test(raw) || isAmbiguous(raw) || dotSegment.test(raw) || needless.test(raw)) {
    throw refused('the path can be read in more than one way')
  }
  const path = decode(raw)
  return { uri: target, path, segments: path.slice(1).split('/'), params: parseQuery(query) }
}

/**
 * @param text of a query, or a form in a body
 * @throws PdpError ERR_AMBIGUOUS_PATH
 */
export function parseQuery(text: string): Map<string, string[]> {
  const params = new Map<string, string[]>()
  if (/[\x00-\x20\x7f-\uffff;#]/.test(text)) throw refused('the query holds characters that must be encoded')
  for (const part of text.split('&')) {
    if (part === '') continue
    const equals = part.indexOf('=')
    const name = decode((equals < 0 ? part : part.slice(0, equals)).replaceAll('+', ' '))
    const value = equals < 0 ? '' : decode(part.slice(equals + 1).replaceAll('+', ' '))
    const values = params.get(name)
    if (values === undefined) params.set(name, [value])
    else values.push(value)
  }
  return params
}

/** Only whole, shortest UTF-8 is decoded. */
function decode(text: string): string {
  let decoded: string
  try {
    decoded = decodeURIComponent(text)
  } catch {
    throw refused('an encoded character is not valid')
  }
  if (/[\x00-\x1f\x7f-\x9f]/.test(decoded)) throw refused('an encoded character is a control character')
  return decoded
}

function refused(message: string): PdpError {
  return new PdpError('ERR_AMBIGUOUS_PATH', message)
}
