// GET /v1/changes: for those who keep answers, all that ends one, as server-sent events. Who was revoked is told by a digest under a
// key of the stream, which says something only to those who know the name already.
import { createHmac, randomBytes } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { EventStreams } from './event-stream.ts'

export type ChangeInfo =
  | { readonly seq: number; readonly type: 'epoch'; readonly bundle: string; readonly epoch: number }
  | { readonly seq: number; readonly type: 'isolated'; readonly kind: string; readonly value?: string }

export interface ChangeFeed {
  /** Numbers are of this process alone. */
  readonly instance: string
  readonly last: number
  /** Undefined: not all of them are known any longer. */
  since(seq: number): readonly ChangeInfo[] | undefined
  subscribe(listener: (change: ChangeInfo) => void): () => void
}

export interface ChangeRouteOptions {
  readonly changes: ChangeFeed
  readonly epochs: () => readonly { readonly name: string; readonly epoch: number }[]
}

export function changeRoutes(app: FastifyInstance, { changes, epochs }: ChangeRouteOptions): void {
  // A beat each second: who hears none for some of them does not know any longer what holds.
  const streams = new EventStreams(app, { max: 1_000, heartbeatMs: 1_000 })
  app.get('/v1/changes', async (request, reply) => {
    streams.checkRoom()
    const [instance, seq] = String(request.headers['last-event-id'] ?? '').split('.')
    const missed = instance === changes.instance && /^\d{1,15}$/.test(seq ?? '') ? changes.since(Number(seq)) : undefined
    const key = randomBytes(32)
    const unsubscribe = changes.subscribe((change) => tell(change))
    const stream = streams.open(request, reply, unsubscribe)
    const bundles = epochs().map(({ name, epoch }) => ({ bundle: name, epoch }))
    // First, so that whoever cannot go on where it was lets go before anything else is said.
    const hello = { key: key.toString('base64url'), reset: missed === undefined, bundles }
    stream.send(`${changes.instance}.${missed === undefined ? changes.last : seq}`, 'hello', JSON.stringify(hello))
    for (const change of missed ?? []) tell(change)

    function tell(change: ChangeInfo): void {
      const { seq, type, ...facts } = change
      const told =
        'value' in facts
          ? {
              kind: facts.kind,
              digest: createHmac('sha256', key)
                .update(facts.value ?? '')
                .digest('base64url'),
            }
          : facts
      stream.send(`${changes.instance}.${seq}`, type, JSON.stringify(told))
    }
  })
}
