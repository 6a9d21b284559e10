// GET /v1/changes: for those who keep answers, and with `?decides=1` for those who decide themselves, all that ends one, as server-sent
// events.
import type { FastifyInstance } from 'fastify'
import { beatMs, type ChangeOptions, type Decides, followChanges, maxStreams, type Told } from '../change-stream.ts'
import { callerOf } from './authentication.ts'
import { EventStreams } from './event-stream.ts'

export function changeRoutes(app: FastifyInstance, options: ChangeOptions): void {
  const streams = new EventStreams(app, { max: maxStreams, heartbeatMs: beatMs })
  app.get('/v1/changes', async (request, reply) => {
    streams.checkRoom()
    const { decides } = request.query as Readonly<Record<string, unknown>>
    const lastId = String(request.headers['last-event-id'] ?? '')
    const stream = streams.open(request, reply, () => stop())
    const stop = followChanges(
      options,
      { lastId, caller: callerOf(request), isDecider: decides === '1' },
      { send: (told) => stream.send(told.id, told.type, JSON.stringify(dataOf(told))), end: stream.end },
    )
  })
}

function dataOf(told: Told): object {
  switch (told.type) {
    case 'hello':
      return { key: told.key.toString('base64url'), reset: told.reset, bundles: told.bundles, ...decidesOf(told.decides) }
    case 'epoch':
      return { bundle: told.bundle, epoch: told.epoch }
    case 'isolated':
      return { kind: told.kind, digest: told.digest?.toString('base64url') }
  }
}

function decidesOf(decides: Decides | undefined): object {
  if (decides === undefined) return {}
  const { trustedKey, maxSteps, maxMemoryBytes, maxAgeMs } = decides.rules
  const { authenticated, id, issuer, clientId, scopes, address } = decides.caller
  return {
    caller: { authenticated, id, issuer, client_id: clientId, scopes, address },
    held: decides.isHeld,
    subjects: decides.subjects === undefined ? null : Buffer.concat(decides.subjects).toString('base64url'),
    rules: { trusted_key: trustedKey, max_steps: maxSteps, max_memory_bytes: maxMemoryBytes, max_age_ms: maxAgeMs },
  }
}
