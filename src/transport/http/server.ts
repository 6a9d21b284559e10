// The HTTP server: three scopes (public, decide, admin), each with its own authentication; one way for failures.
import { createServer, type IncomingMessage, type ServerOptions, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { Socket } from 'node:net'
import fastify, { type FastifyBaseLogger, type FastifyError, type FastifyInstance, LogController } from 'fastify'
import type { RecordedDecider } from '../../decision/decider.ts'
import { PdpError } from '../../errors.ts'
import type { Admission } from '../admission.ts'
import type { ChangeOptions } from '../change-stream.ts'
import { correlationId } from '../correlation.ts'
import type { DecideLimits } from '../decide-request.ts'
import type { GatewayOptions } from '../gateway/gateway-options.ts'
import { secureConnections, type TlsSettings, tlsOptions } from '../secure-connections.ts'
import { adminRoutes, type Info } from './admin-routes.ts'
import { errorAnswer } from './answer.ts'
import { requireAdmission } from './authentication.ts'
import { type AuthzenOptions, authzenMetadataRoute, authzenRoutes } from './authzen-routes.ts'
import { registerJsonBody, requireBody } from './body.ts'
import { type BundleRouteOptions, bundleRoutes } from './bundle-routes.ts'
import { changeRoutes } from './change-routes.ts'
import { createDecideHandler, decideRoute } from './decide-route.ts'
import { answerDirectly, type DirectRoute } from './direct.ts'
import { fromFastify, refuseOnSocket, sendError } from './errors.ts'
import { eventRoutes } from './event-routes.ts'
import { gatewayRoutes, isGatewayPath, sendRefusal } from './gateway-routes.ts'
import { type IsolationAdmin, isolationRoutes } from './isolation-routes.ts'
import { type LogRouteOptions, logRoutes } from './log-routes.ts'
import { type Expose, metricsRoute, routeOf } from './metrics-route.ts'
import { type OpaConfig, opaAdminRoutes } from './opa-admin-routes.ts'
import { opaDirect } from './opa-direct.ts'
import { type OpaOptions, opaRoutes } from './opa-routes.ts'
import { openapi } from './openapi.ts'
import { publicRoutes } from './public-routes.ts'
import { type RecordRouteOptions, recordRoute } from './record-route.ts'
import { guardRequest, rewriteTarget } from './request-guard.ts'
import { type ReuseRouteOptions, reuseRoute } from './reuse-route.ts'

export interface HttpServerOptions extends ChangeOptions, ReuseRouteOptions {
  readonly decider: RecordedDecider
  readonly limits: DecideLimits
  readonly maxBodyBytes: number
  readonly requestTimeoutMs: number
  /** See GuardOptions. */
  readonly hosts: ReadonlySet<string> | undefined
  /** Undefined: the decide scope is open, which only a loopback address may be. */
  readonly decideScope: Admission | undefined
  readonly adminScope: Admission
  /** Undefined: clear text. */
  readonly tls: TlsSettings | undefined
  readonly gateways: GatewayOptions
  readonly opa: OpaOptions['opa'] & { readonly config: () => OpaConfig }
  readonly candidates: AuthzenOptions['candidates']
  readonly authzen: AuthzenOptions['authzen']
  readonly bundles: Omit<BundleRouteOptions, 'limits' | 'maxBodyBytes'>
  readonly isolationAdmin: IsolationAdmin
  readonly notReady: () => readonly string[]
  readonly recordTold: RecordRouteOptions['recordTold']
  readonly checkpoint: LogRouteOptions['checkpoint']
  readonly info: () => Info
  readonly metrics: Expose
  /** Told of each answer: its route, its status, and how long it took from the head of its request. Milliseconds. */
  readonly onAnswered: (route: string, status: number, ms: number) => void
  readonly log: FastifyBaseLogger
}

export interface HttpServer {
  readonly app: FastifyInstance
  /** All that there are, once the app is ready. */
  readonly routes: readonly { readonly method: string; readonly url: string }[]
  /** From now on every answer asks its client to close the connection. */
  startDraining(): void
}

const allMethods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE'] as const

export function createHttpServer(options: HttpServerOptions): HttpServer {
  let draining = false
  const guard = guardRequest(options)
  const decide = createDecideHandler(options.decider, options.limits)
  const decideRouteDirect: DirectRoute = { handle: decide, fail: (error, id) => errorAnswer(error, id, 'POST', options.log) }
  const data = opaDirect(options.decider, options.limits, options.log)
  const direct = answerDirectly({
    ...options,
    guard,
    route: (target) => (target === '/v1/decide' ? decideRouteDirect : data(target)),
    isDraining: () => draining,
  })
  const app = fastify({
    loggerInstance: options.log,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: ({ headers }) => correlationId(headers['x-request-id']),
    requestIdHeader: false,
    bodyLimit: options.maxBodyBytes,
    trustProxy: false,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    rewriteUrl: rewriteTarget,
    clientErrorHandler(error, socket) {
      const refused = refuseOnSocket(error, socket as Socket)
      if (refused !== undefined)
        options.log.info({ code: refused.code, peer: (socket as Socket).remoteAddress }, `refused: ${refused.message}`)
    },
    frameworkErrors: (error, request, reply) => void sendError(request, reply, fromFastify(error)),
    serverFactory(fastifyHandler) {
      const handle = (request: IncomingMessage, response: ServerResponse) => {
        const began = performance.now()
        response.once('finish', () => options.onAnswered(routeOf(request.url), response.statusCode, performance.now() - began))
        if (!direct(request, response)) fastifyHandler(request, response)
      }
      if (options.tls === undefined) return createServer(serverOptions(options), handle)
      const server = createSecureServer({ ...serverOptions(options), ...tlsOptions(options.tls), ALPNProtocols: ['http/1.1'] }, handle)
      secureConnections(server, options.tls)
      return server
    },
  })
  const routes: { method: string; url: string }[] = []
  app.addHook('onRoute', ({ method, url }) => {
    for (const one of [method].flat()) routes.push({ method: one, url })
  })
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id)
    if (draining) reply.header('connection', 'close')
    try {
      guard(request.raw)
      done()
    } catch (error) {
      done(error as Error)
    }
  })
  app.setErrorHandler((error: FastifyError | PdpError, request, reply) =>
    isGatewayPath(request.originalUrl)
      ? sendRefusal(request, reply, fromFastify(error), options.gateways)
      : sendError(request, reply, fromFastify(error)),
  )
  registerJsonBody(app, options.maxBodyBytes)

  app.register(async (scope) => publicRoutes(scope, options.notReady))
  app.register(async (scope) => gatewayRoutes(scope, options))
  const requireDecide = async (scope: FastifyInstance) => {
    if (options.decideScope !== undefined) scope.addHook('onRequest', requireAdmission(options.decideScope))
  }
  app.register(async (scope) => {
    await requireDecide(scope)
    scope.register(async (inner) => authzenMetadataRoute(inner, options))
    changeRoutes(scope, options)
    opaRoutes(scope, options)
  })
  app.register(async (scope) => {
    await requireDecide(scope)
    scope.addHook('preValidation', (request, _reply, done) => {
      try {
        requireBody(request)
        done()
      } catch (error) {
        done(error as Error)
      }
    })
    decideRoute(scope, '/v1/decide', decide)
    reuseRoute(scope, options)
    scope.register(async (inner) => authzenRoutes(inner, options))
  })
  app.register(async (scope) => {
    scope.addHook('onRequest', requireAdmission(options.adminScope))
    adminRoutes(scope, options.info)
    bundleRoutes(scope, { ...options.bundles, limits: options.limits, maxBodyBytes: options.maxBodyBytes })
    scope.register(async (inner) => recordRoute(inner, { ...options, hasRole: options.bundles.hasRole }))
    metricsRoute(scope, options.bundles.hasRole, options.metrics)
    logRoutes(scope, { hasRole: options.bundles.hasRole, checkpoint: options.checkpoint })
    eventRoutes(scope, options.bundles)
    isolationRoutes(scope, { isolationAdmin: options.isolationAdmin, hasRole: options.bundles.hasRole, limits: options.limits })
    scope.get('/docs', (_request, reply) => reply.header('cache-control', 'no-store').send(openapi(options.info().version)))
    opaAdminRoutes(scope, options.info, options.opa.config)
  })
  app.setNotFoundHandler((request, reply) => {
    const allowed = allMethods.filter((method) => app.hasRoute({ method, url: request.url.split('?')[0] as string }))
    if (isGatewayPath(request.originalUrl))
      return sendRefusal(request, reply, new PdpError('ERR_NOT_FOUND', 'no such route'), options.gateways)
    if (allowed.length === 0) return sendError(request, reply, new PdpError('ERR_NOT_FOUND', 'no such route'))
    reply.header('allow', allowed.join(', '))
    return sendError(request, reply, new PdpError('ERR_METHOD_NOT_ALLOWED', `the method must be ${allowed.join(' or ')}`))
  })
  return {
    app,
    routes,
    startDraining() {
      draining = true
    },
  }
}

function serverOptions({ requestTimeoutMs }: HttpServerOptions): ServerOptions {
  return {
    requireHostHeader: false,
    headersTimeout: requestTimeoutMs,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: 72_000,
    connectionsCheckingInterval: 1_000,
  }
}
