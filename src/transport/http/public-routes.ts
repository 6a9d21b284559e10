// The public scope: is the process alive, and can it answer. Nothing about what it serves.
import type { FastifyInstance } from 'fastify'

/** @param notReady why the service cannot answer decisions now; empty: it can */
export function publicRoutes(app: FastifyInstance, notReady: () => readonly string[]): void {
  app.get('/healthz', (_request, reply) => reply.send({ status: 'ok' }))
  app.get('/readyz', (_request, reply) => {
    const reasons = notReady()
    return reasons.length === 0
      ? reply.send({ status: 'ready' })
      : reply.code(503).header('retry-after', '1').send({ status: 'not ready', reasons })
  })
  // OPA's name for both: ready only where a check is asked for (https://www.openpolicyagent.org/docs/rest-api#health-api).
  app.get('/health', (request, reply) => {
    const query = request.query as Readonly<Record<string, unknown>>
    // Bundles are a plugin of OPA's, and so a check of plugins may leave them out.
    const excluded = [query['exclude-plugin']].flat()
    const isAsked = ['bundles', 'bundle', 'plugins'].some(
      (name) => query[name] !== undefined && query[name] !== 'false' && !(name === 'plugins' && excluded.includes('bundle')),
    )
    const reasons = isAsked ? notReady() : []
    return reasons.length === 0 ? reply.send({}) : reply.code(500).send({ error: reasons.join('; ') })
  })
}
