// GET /v1/events: every act on bundles as it happens, as server-sent events that can be taken up again where they were left.
import type { FastifyInstance } from 'fastify'
import type { BundleRouteOptions } from './bundle-routes.ts'
import { EventStreams } from './event-stream.ts'
import { operatorOf, wholeNumber } from './operator-request.ts'

const pageSize = 1_000

export function eventRoutes(app: FastifyInstance, { bundleAdmin, hasRole }: Pick<BundleRouteOptions, 'bundleAdmin' | 'hasRole'>): void {
  const streams = new EventStreams(app, { max: 100, heartbeatMs: 15_000 })
  app.get('/v1/events', async (request, reply) => {
    operatorOf(request, 'audit', hasRole)
    streams.checkRoom()
    const { after } = request.query as { readonly after?: string }
    let last = wholeNumber(request.headers['last-event-id'] ?? after, 0, 'Last-Event-ID must be the number of an event')
    const unsubscribe = bundleAdmin.onAct(() => catchUp())
    const stream = streams.open(request, reply, unsubscribe)
    catchUp()

    function catchUp(): void {
      for (let acts = bundleAdmin.acts(last, pageSize, undefined); acts.length > 0; acts = bundleAdmin.acts(last, pageSize, undefined)) {
        for (const act of acts) {
          last = act.seq
          stream.send(String(act.seq), act.act, JSON.stringify(act))
        }
        if (stream.isClosed) return
      }
    }
  })
}
