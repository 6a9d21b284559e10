// GET /v1/log/checkpoint: what the decision log is signed for now, for those who keep it elsewhere.
import type { FastifyInstance } from 'fastify'
import { PdpError } from '../../errors.ts'
import { type HasRole, operatorOf } from './operator-request.ts'

export interface LogRouteOptions {
  readonly hasRole: HasRole
  /** The newest signed checkpoint; undefined: there is none yet. */
  readonly checkpoint: () => string | undefined
}

export function logRoutes(app: FastifyInstance, { hasRole, checkpoint }: LogRouteOptions): void {
  app.get('/v1/log/checkpoint', async (request, reply) => {
    operatorOf(request, 'audit', hasRole)
    const note = checkpoint()
    if (note === undefined) throw new PdpError('ERR_NOT_FOUND', 'nothing was recorded yet')
    return reply.header('cache-control', 'no-store').type('text/plain; charset=utf-8').send(note)
  })
}
