// What a gateway tells of the request that it asks about, from the header fields of each convention. Only of peers that are
// configured as gateways: whoever else sends these fields could name any path.
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { PdpError } from '../../errors.ts'
import type { GatewayOptions } from '../gateway/gateway-options.ts'
import type { RouteRequest } from '../gateway/route-question.ts'
import { parseTarget } from '../gateway/target.ts'

/** Where the original request stands: nginx's `X-Original-…`, or `X-Forwarded-…` of Traefik and Caddy; `any`: whichever is there. */
export type Convention = 'original' | 'forwarded' | 'any'

/**
 * @throws PdpError ERR_FORBIDDEN for a peer that is no gateway, ERR_INVALID_REQUEST where something is missing or there twice,
 * ERR_AMBIGUOUS_PATH
 */
export function readGatewayRequest(request: IncomingMessage, convention: Convention, gateways: GatewayOptions): RouteRequest {
  const { headers, socket } = request
  if (!gateways.isTrustedProxy(socket.remoteAddress)) {
    throw new PdpError('ERR_FORBIDDEN', 'this address is no gateway: see gateways.trustedProxies')
  }
  const original = pair(headers, 'x-original-method', 'x-original-uri')
  const forwarded = pair(headers, 'x-forwarded-method', 'x-forwarded-uri')
  const told = convention === 'original' ? original : convention === 'forwarded' ? forwarded : (original ?? forwarded)
  if (told === undefined) {
    const names = convention === 'original' ? '`X-Original-Method` and `X-Original-URI`' : '`X-Forwarded-Method` and `X-Forwarded-Uri`'
    throw new PdpError('ERR_INVALID_REQUEST', `the gateway must send ${names}`)
  }
  if (convention === 'any' && original !== undefined && forwarded !== undefined && original.join() !== forwarded.join()) {
    throw new PdpError('ERR_INVALID_REQUEST', 'the fields `X-Original-…` and `X-Forwarded-…` name different requests')
  }
  const [method, uri] = told
  return {
    principal: undefined,
    method,
    target: parseTarget(uri),
    scheme: text(headers['x-forwarded-proto']) ?? 'http',
    host: text(headers['x-forwarded-host']) ?? headers.host ?? '',
    ip: clientAddress(text(headers['x-forwarded-for']), socket.remoteAddress, gateways),
  }
}

function pair(headers: IncomingHttpHeaders, method: string, uri: string): [string, string] | undefined {
  const [first, second] = [text(headers[method]), text(headers[uri])]
  return first === undefined || second === undefined ? undefined : [first, second]
}

/** Node joins fields that are there twice with a comma and a space, which no method, path, scheme or host has: such are refused. */
function text(value: string | string[] | undefined): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** The last address that no gateway of ours has added: what stands before it, its sender may have made up. */
function clientAddress(forwardedFor: string | undefined, peer: string | undefined, gateways: GatewayOptions): string | undefined {
  const hops = forwardedFor?.split(',').map((hop) => hop.trim()) ?? []
  while (hops.length > 1 && gateways.isTrustedProxy(hops.at(-1))) hops.pop()
  const last = hops.at(-1)
  return last !== undefined && /^[0-9A-Fa-f:.]{2,45}$/.test(last) ? last : peer
}
