// The doors of gateways over HTTP: nginx's auth_request, Traefik's and Caddy's forward auth, and the HTTP flavour of Envoy's
// ext_authz. Any method, and only statuses that the gateway at the other end understands: never one that it could take for a
// failure of ours.
// @see https://nginx.org/en/docs/http/ngx_http_auth_request_module.html
// @see https://doc.traefik.io/traefik/reference/routing-configuration/http/middlewares/forwardauth/
// @see https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/filters/http/ext_authz/v3/ext_authz.proto (HttpService)
import { METHODS } from 'node:http'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { RecordedDecider } from '../../decision/decider.ts'
import { toJsonLine } from '../../decision/json-text.ts'
import type { Caller, DecisionRequest } from '../../decision/request.ts'
import { PdpError, toPdpError } from '../../errors.ts'
import { traceOfFields } from '../../telemetry/trace-context.ts'
import { type Admission, admit } from '../admission.ts'
import type { DecideLimits } from '../decide-request.ts'
import { toEnvoyInput } from '../gateway/envoy-input.ts'
import { type GatewayAnswer, refusal, toGatewayAnswer } from '../gateway/gateway-answer.ts'
import type { GatewayOptions } from '../gateway/gateway-options.ts'
import { type Fields, refuseUnusable } from '../gateway/gateway-result.ts'
import { identifiedRoute, type RouteParts, type RouteRequest, toRouteParts } from '../gateway/route-question.ts'
import { subjectTokenOf } from '../gateway/subject-token.ts'
import { peerOfSocket } from './authentication.ts'
import { fromFastify } from './errors.ts'
import { type Convention, readGatewayRequest } from './gateway-request.ts'

export interface GatewayRouteOptions {
  readonly decider: RecordedDecider
  readonly limits: DecideLimits
  readonly maxBodyBytes: number
  /** Undefined: anybody may ask. */
  readonly decideScope: Admission | undefined
  readonly gateways: GatewayOptions
}

/** Everything below belongs to gateways, also what is refused before it has a route. */
export const gatewayPrefix = '/v1/auth'
const envoyPrefix = `${gatewayPrefix}/envoy`

/** Whether a refused request came to one of these doors. */
export function isGatewayPath(url: string): boolean {
  return url === gatewayPrefix || url.startsWith(`${gatewayPrefix}/`) || url.startsWith(`${gatewayPrefix}?`)
}

/** nginx takes all but three statuses for an error of ours. */
const onlyDeny = (status: number) => (status === 401 ? 401 : 403)
const asItIs = (status: number) => status

export function gatewayRoutes(app: FastifyInstance, { decider, limits, maxBodyBytes, decideScope, gateways }: GatewayRouteOptions): void {
  for (const method of METHODS)
    if (!app.supportedMethods.includes(method) && method !== 'CONNECT') app.addHttpMethod(method, { hasBody: true })
  const inputLimits = { ...limits, forbidPrototypeKeys: false }
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: maxBodyBytes }, (_request, body, done) => done(null, body))
  app.setErrorHandler((error: FastifyError | PdpError, request, reply) => sendRefusal(request, reply, fromFastify(error), gateways))

  const doors: readonly [path: string, convention: Convention, statusOf: (status: number) => number][] = [
    [gatewayPrefix, 'any', onlyDeny],
    [`${gatewayPrefix}/nginx`, 'original', onlyDeny],
    [`${gatewayPrefix}/traefik`, 'forwarded', asItIs],
    [`${gatewayPrefix}/caddy`, 'forwarded', asItIs],
  ]
  const method = app.supportedMethods
  for (const [url, convention, statusOf] of doors) {
    app.route({
      method,
      url,
      handler: async (request, reply) => {
        const route = readGatewayRequest(request.raw, convention, gateways)
        const answer = await ask(request, 'forward-auth', { ...questionOf(route), ...identityOf(request, route) })
        const { result } = answer
        const fields = answer.allowed ? [...result.headers, ...result.responseHeadersToAdd] : result.headers
        return send(reply, answer, answer.allowed ? 200 : statusOf(answer.status), fields, statusOf === asItIs, gateways)
      },
    })
  }

  const envoy = async (request: FastifyRequest, reply: FastifyReply) => {
    const { attributes, headers, path } = attributesOf(request)
    const body = (request.body as Buffer | undefined) ?? Buffer.alloc(0)
    const { input, target } = toEnvoyInput(
      { attributes, path, headers, body },
      { limits: inputLimits, passTruncated: gateways.passTruncated },
    )
    const scheme = headers.get('x-forwarded-proto') ?? 'http'
    const host = headers.get('host') ?? ''
    const parts = toRouteParts({ principal: undefined, method: request.method, scheme, host, target, ip: request.raw.socket.remoteAddress })
    const token = gateways.verifiesTokens ? subjectTokenOf(headers.get('authorization')) : undefined
    const answer = await ask(request, 'envoy-http', { ...parts, input, token, identified: identifiedRoute })
    const { result } = answer
    const removed = answer.allowed && result.requestHeadersToRemove.length > 0
    const fields: Fields = [
      ...result.headers,
      ...(removed ? [['x-envoy-auth-headers-to-remove', result.requestHeadersToRemove.join(', ')] as const] : []),
    ]
    return send(reply, answer, answer.status, fields, true, gateways)
  }
  app.route({ method, url: envoyPrefix, handler: envoy })
  app.route({ method, url: `${envoyPrefix}/*`, handler: envoy })

  async function ask(
    request: FastifyRequest,
    door: string,
    question: Pick<DecisionRequest, 'input' | 'subject' | 'action' | 'resource' | 'token' | 'identified' | 'fault'>,
  ): Promise<GatewayAnswer> {
    return toGatewayAnswer(
      await decider.decide({
        door,
        correlationId: request.id,
        trace: traceOfFields(request.headers),
        caller: await gatewayOf(request, decideScope),
        timeMs: Date.now(),
        ...gateways.policy(),
        ...question,
        refuse: refuseUnusable,
      }),
    )
  }
}

/**
 * The gateway itself: `Authorization` belongs to the request that it asks about, so its own credentials have a field of their own.
 * @throws PdpError ERR_UNAUTHENTICATED
 */
function gatewayOf({ raw }: FastifyRequest, scope: Admission | undefined): Caller | Promise<Caller> {
  return admit(scope, raw.headers['x-verdict-authorization'] as string | undefined, peerOfSocket(raw.socket))
}

/** What forward auth shows to the policy is what it records. */
function questionOf(route: RouteRequest): RouteParts & Pick<DecisionRequest, 'input'> {
  const parts = toRouteParts(route)
  return { ...parts, input: `{"subject":${parts.subject},"action":${parts.action},"resource":${parts.resource}}` }
}

/** The identity of a forward-auth question is a verified one or none. */
function identityOf({ headers }: FastifyRequest, route: RouteRequest): Pick<DecisionRequest, 'token' | 'identified' | 'fault'> {
  if (headers.authorization === undefined) return {}
  const token = subjectTokenOf(headers.authorization)
  if (token === undefined) return { fault: new PdpError('ERR_TOKEN_INVALID', 'the request brings other credentials than a bearer token') }
  return { token, identified: (principal) => questionOf({ ...route, principal }) }
}

/** The attributes of an ext_authz check, as far as HTTP tells them. */
function attributesOf(request: FastifyRequest): { attributes: string; headers: ReadonlyMap<string, string>; path: string } {
  const { raw } = request
  const path = (request.originalUrl.slice(envoyPrefix.length) || '/').replace(/^(?!\/)/, '/')
  const headers = new Map<string, string>()
  for (const [name, value] of Object.entries(raw.headers)) {
    if (name !== 'x-verdict-authorization' && value !== undefined) headers.set(name, Array.isArray(value) ? value.join(',') : value)
  }
  const http = {
    method: raw.method,
    path,
    headers: Object.fromEntries(headers),
    host: raw.headers.host,
    protocol: `HTTP/${raw.httpVersion}`,
    ...(headers.has('x-request-id') && { id: headers.get('x-request-id') }),
  }
  const address = { socketAddress: { address: raw.socket.remoteAddress, portValue: raw.socket.remotePort } }
  return { attributes: toJsonLine({ source: { address }, request: { http } }), headers, path }
}

/** For requests that were refused before any question. */
export function sendRefusal(
  request: FastifyRequest,
  reply: FastifyReply,
  error: PdpError,
  { cacheControl }: Pick<GatewayOptions, 'cacheControl'>,
): FastifyReply {
  const known = toPdpError(error)
  request.log.info({ code: known.code, correlation_id: request.id, method: request.method }, `refused: ${known.message}`)
  const answer = refusal(known)
  return send(reply, answer, answer.status, [], false, { cacheControl })
}

function send(
  reply: FastifyReply,
  answer: GatewayAnswer,
  status: number,
  fields: Fields,
  withBody: boolean,
  { cacheControl }: Pick<GatewayOptions, 'cacheControl'>,
): FastifyReply {
  const byName = new Map<string, string[]>()
  for (const [name, value] of fields) byName.set(name, [...(byName.get(name) ?? []), value])
  for (const [name, values] of byName) reply.header(name, values.length === 1 ? values[0] : values)
  reply.header('cache-control', answer.error === undefined ? cacheControl : 'no-store')
  if (answer.decisionId !== '') reply.header('x-verdict-decision-id', answer.decisionId)
  if (status === 401 && !byName.has('www-authenticate')) {
    reply.header('www-authenticate', answer.error === undefined ? 'Bearer' : 'Bearer error="invalid_token"')
  }
  const body = answer.allowed || !withBody ? undefined : answer.result.body
  if (body !== undefined && !byName.has('content-type')) reply.header('content-type', 'text/plain; charset=utf-8')
  return reply.code(status).send(body ?? '')
}
