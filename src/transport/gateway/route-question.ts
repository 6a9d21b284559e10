// A request to a service behind a gateway, in AuthZEN's terms: the identity does the method on the route. What every gateway
// door puts into the record; the forward-auth doors also show it to the policy.
// @see AuthZEN, mapping for API gateways
import { toJsonLine } from '../../decision/json-text.ts'
import type { DecisionRequest } from '../../decision/request.ts'
import { PdpError } from '../../errors.ts'
import type { Target } from './target.ts'

export interface RouteRequest {
  /** Who asks, as somebody who can be trusted established it; undefined: nobody did. */
  readonly principal: string | undefined
  readonly method: string
  readonly scheme: string
  /** With a port where one was given. */
  readonly host: string
  readonly target: Target
  /** Address of the client. */
  readonly ip: string | undefined
}

export type RouteParts = Pick<DecisionRequest, 'subject' | 'action' | 'resource'>

const methodPattern = /^[A-Z][A-Z-]{0,31}$/
const hostPattern = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)?(?::\d{1,5})?$/

const anonymous = toJsonLine({ type: 'anonymous', id: 'anonymous' })
const identity = (id: string) => toJsonLine({ type: 'identity', id })

/** For the record, where the policy has an input of its own that the subject is no part of. */
export function identifiedRoute(principal: string): Pick<DecisionRequest, 'subject'> {
  return { subject: identity(principal) }
}

/** @throws PdpError ERR_INVALID_REQUEST */
export function toRouteParts({ principal, method, scheme, host, target, ip }: RouteRequest): RouteParts {
  if (!methodPattern.test(method)) throw new PdpError('ERR_INVALID_REQUEST', 'the method must be a word of capital letters')
  const hostname = hostPattern.exec(host)
  if (hostname === null || host.length > 255) throw new PdpError('ERR_INVALID_REQUEST', 'the host is malformed')
  if (!/^[a-z][a-z0-9+.-]{0,15}$/.test(scheme)) throw new PdpError('ERR_INVALID_REQUEST', 'the scheme is malformed')
  const properties = {
    uri: `${scheme}://${host}${target.uri}`,
    schema: scheme,
    hostname: hostname[1] ?? '',
    path: target.path,
    params: Object.fromEntries(target.params),
    ip,
  }
  return {
    subject: principal === undefined ? anonymous : identity(principal),
    action: toJsonLine({ name: method }),
    resource: toJsonLine({ type: 'route', id: target.path, properties }),
  }
}
