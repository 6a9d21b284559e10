// GET /v1/events: every act on bundles as it happens, as server-sent events that can be taken up again where they were left.
// @see https://html.spec.whatwg.org/multipage/server-sent-events.html
import type { ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { PdpError } from '../../errors.ts'
import type { ActInfo, BundleRouteOptions } from './bundle-routes.ts'
import { operatorOf, wholeNumber } from './operator-request.ts'

const heartbeatMs = 15_000
const maxStreams = 100
/** A client that leaves so much unread is let go; it comes back with the last number that it has. Bytes. */
const maxUnreadBytes = 1024 * 1024
const pageSize = 1_000

export function eventRoutes(app: FastifyInstance, { bundleAdmin, hasRole }: Pick<BundleRouteOptions, 'bundleAdmin' | 'hasRole'>): void {
  const streams = new Set<ServerResponse>()
  app.addHook('preClose', async () => {
    for (const stream of streams) stream.end()
  })

  app.get('/v1/events', async (request, reply) => {
    operatorOf(request, 'audit', hasRole)
    if (streams.size >= maxStreams) throw new PdpError('ERR_OVERLOADED', 'too many clients follow the events')
    const { after } = request.query as { readonly after?: string }
    let last = wholeNumber(request.headers['last-event-id'] ?? after, 0, 'Last-Event-ID must be the number of an event')
    reply.hijack()
    const stream = reply.raw
    streams.add(stream)
    stream.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store', 'x-request-id': request.id })
    stream.write('retry: 1000\n\n')
    const send = (act: ActInfo) => {
      last = act.seq
      stream.write(`id: ${act.seq}\nevent: ${act.act}\ndata: ${JSON.stringify(act)}\n\n`)
      if (stream.writableLength > maxUnreadBytes) stream.destroy()
    }
    const unsubscribe = bundleAdmin.onAct(() => catchUp())
    const heartbeat = setInterval(() => stream.write(':\n\n'), heartbeatMs).unref()
    stream.on('close', () => {
      clearInterval(heartbeat)
      unsubscribe()
      streams.delete(stream)
    })
    catchUp()

    function catchUp(): void {
      for (let acts = bundleAdmin.acts(last, pageSize, undefined); acts.length > 0; acts = bundleAdmin.acts(last, pageSize, undefined)) {
        for (const act of acts) send(act)
        if (stream.destroyed) return
      }
    }
  })
}
