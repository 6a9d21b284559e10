// What every HTTP request must pass before a route sees it: one reading of its target, its host, its credentials.
import type { IncomingMessage } from 'node:http'
import { PdpError } from '../../errors.ts'
import { isAmbiguous } from '../gateway/target.ts'

export interface GuardOptions {
  /** Host names, without port, that are answered; undefined: any that is well formed. */
  readonly hosts: ReadonlySet<string> | undefined
}

const hostPattern = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?$/
const credentialInQuery = /[?&](?:access_token|token|id_token|authorization)=/i

const refusals = new WeakMap<IncomingMessage, PdpError>()

/** For Fastify's `rewriteUrl`, which runs before routing: gives a target that has only one reading. */
export function rewriteTarget(request: IncomingMessage): string {
  const target = request.url ?? ''
  if (target.startsWith('/')) {
    const end = target.indexOf('?')
    if (!isAmbiguous(end < 0 ? target : target.slice(0, end))) return target
    return refuse(request, new PdpError('ERR_NOT_FOUND', 'no such route'))
  }
  // Absolute form (RFC 9112 §3.2.2): its host must be the one of the Host field.
  const absolute = /^https?:\/\/([^/?#]+)(\/[^#]*)?$/i.exec(target)
  if (absolute !== null && absolute[1] === request.headers.host && !isAmbiguous(absolute[2] ?? '/')) return absolute[2] ?? '/'
  return refuse(request, new PdpError('ERR_HOST_REFUSED', 'the request target and the Host field disagree'))
}

function refuse(request: IncomingMessage, error: PdpError): string {
  refusals.set(request, error)
  return '/'
}

/**
 * For every request before anything else looks at it.
 * @throws PdpError ERR_NOT_FOUND, ERR_HOST_REFUSED, ERR_AMBIGUOUS_CREDENTIALS, ERR_BAD_HTTP
 */
export function guardRequest(options: GuardOptions): (request: IncomingMessage) => void {
  return (request) => {
    const refusal = refusals.get(request)
    if (refusal !== undefined) throw refusal
    const { host, authorization } = request.headers
    const name = host === undefined ? undefined : hostPattern.exec(host)?.[1]
    if (name === undefined) throw new PdpError('ERR_HOST_REFUSED', 'the Host field is missing or malformed')
    if (options.hosts !== undefined && !options.hosts.has(name.toLowerCase())) {
      throw new PdpError('ERR_HOST_REFUSED', 'the Host field names a host that is not served here: see server.hosts')
    }
    checkRepeated(request.rawHeaders, authorization !== undefined)
    if (credentialInQuery.test(request.url ?? '')) {
      throw new PdpError('ERR_AMBIGUOUS_CREDENTIALS', 'credentials are not taken from the query')
    }
  }
}

/** Node keeps the first of a repeated field and drops the others; which one counts must not be a matter of luck. */
function checkRepeated(rawHeaders: readonly string[], hasAuthorization: boolean): void {
  let hosts = 0
  let contentTypes = 0
  let authorizations = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    if (name.length === 4 && name.toLowerCase() === 'host') hosts++
    else if (name.length === 12 && name.toLowerCase() === 'content-type') contentTypes++
    else if (hasAuthorization && name.length === 13 && name.toLowerCase() === 'authorization') authorizations++
  }
  if (hosts > 1) throw new PdpError('ERR_HOST_REFUSED', 'the Host field is there more than once')
  if (contentTypes > 1) throw new PdpError('ERR_UNSUPPORTED_MEDIA_TYPE', 'the Content-Type field is there more than once')
  if (authorizations > 1) throw new PdpError('ERR_AMBIGUOUS_CREDENTIALS', 'the Authorization field is there more than once')
}
