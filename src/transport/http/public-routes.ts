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
}
