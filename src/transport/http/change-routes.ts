// GET /v1/changes: for those who keep answers, all that ends one, as server-sent events.
import type { FastifyInstance } from 'fastify'
import { beatMs, type ChangeOptions, followChanges, maxStreams, type Told } from '../change-stream.ts'
import { EventStreams } from './event-stream.ts'

export function changeRoutes(app: FastifyInstance, options: ChangeOptions): void {
  const streams = new EventStreams(app, { max: maxStreams, heartbeatMs: beatMs })
  app.get('/v1/changes', async (request, reply) => {
    streams.checkRoom()
    const stream = streams.open(request, reply, () => unsubscribe())
    const unsubscribe = followChanges(options, String(request.headers['last-event-id'] ?? ''), (told) =>
      stream.send(told.id, told.type, JSON.stringify(dataOf(told))),
    )
  })
}

function dataOf(told: Told): object {
  switch (told.type) {
    case 'hello':
      return { key: told.key.toString('base64url'), reset: told.reset, bundles: told.bundles }
    case 'epoch':
      return { bundle: told.bundle, epoch: told.epoch }
    case 'isolated':
      return { kind: told.kind, digest: told.digest?.toString('base64url') }
  }
}
