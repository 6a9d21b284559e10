// GET /metrics for Prometheus, and by which names routes are told apart there.
// @see https://prometheus.io/docs/instrumenting/exposition_formats
import type { FastifyInstance } from 'fastify'
import { type HasRole, operatorOf } from './operator-request.ts'

/** What is measured, in the format that a request accepts. */
export type Expose = (accept: string | undefined) => { readonly contentType: string; readonly text: string }

export function metricsRoute(app: FastifyInstance, hasRole: HasRole, expose: Expose): void {
  app.get('/metrics', async (request, reply) => {
    operatorOf(request, 'audit', hasRole)
    const { contentType, text } = expose(request.headers.accept)
    return reply.header('cache-control', 'no-store').header('vary', 'accept').header('content-type', contentType).send(text)
  })
}

/** First parts of the paths of routes; what callers put behind them is told apart nowhere. */
const known = [
  '/v1/decide',
  '/v1/auth',
  '/v1/data',
  '/v0/data',
  '/v1/batch',
  '/v1/compile',
  '/v1/changes',
  '/v1/reuses',
  '/v1/records',
  '/v1/bundles',
  '/v1/revocations',
  '/v1/quarantines',
  '/v1/events',
  '/v1/acts',
  '/v1/info',
  '/v1/log',
  '/v1/status',
  '/v1/config',
  '/access/v1',
  '/.well-known',
  '/health',
  '/healthz',
  '/readyz',
  '/metrics',
  '/docs',
]

/** @returns a name out of few */
export function routeOf(url = ''): string {
  // The one that comes most.
  if (url === '/v1/decide') return url
  return known.find((one) => url.startsWith(one) && (url.length === one.length || '/?:'.includes(url.charAt(one.length)))) ?? 'other'
}
