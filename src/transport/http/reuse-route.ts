// POST /v1/reuses: how often answers were given again by whoever keeps them, so that the log knows of each use and not of each first one.
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import type { Caller } from '../../decision/request.ts'
import { type JsonLimits, parseStrictJson } from '../../decision/strict-json.ts'
import { invalid } from '../decide-request.ts'
import { callerOf } from './authentication.ts'

/** Uses of one answer. */
export interface Reuse {
  /** Of the decision's record. */
  readonly id: string
  readonly count: number
  /** Milliseconds since 1970, by the clock of whoever used it. */
  readonly first: number
  readonly last: number
}

export interface ReuseRouteOptions {
  readonly limits: JsonLimits
  /** @throws PdpError ERR_LOG_UNAVAILABLE */
  readonly recordReuses: (caller: Caller, reuses: readonly Reuse[]) => Promise<void>
}

const time = z.int().min(0).max(253_402_300_799_999)
const schema = z.looseObject({
  reuses: z
    .array(z.object({ id: z.uuid(), count: z.int().min(1).max(1_000_000_000), first: time, last: time }))
    .min(1)
    .max(1_000),
})

export function reuseRoute(app: FastifyInstance, { limits, recordReuses }: ReuseRouteOptions): void {
  app.post('/v1/reuses', async (request, reply) => {
    const parsed = schema.safeParse(parseStrictJson(request.body as string, limits).value)
    if (!parsed.success) throw invalid(parsed.error)
    await recordReuses(callerOf(request), parsed.data.reuses)
    return reply.code(204).send()
  })
}
