// OPA's Status and Config APIs, for tools that watch OPA. In the admin scope: OPA itself answers them to anybody.
// @see https://www.openpolicyagent.org/docs/rest-api#status-api
import type { FastifyInstance } from 'fastify'
import type { Info } from './admin-routes.ts'

export interface OpaConfig {
  readonly labels: Readonly<Record<string, string>>
  readonly default_decision: string | undefined
  readonly plugins: Readonly<Record<string, unknown>>
}

export function opaAdminRoutes(app: FastifyInstance, info: () => Info, config: () => OpaConfig): void {
  app.get('/v1/config', (_request, reply) => reply.header('cache-control', 'no-store').send({ result: config() }))
  app.get('/v1/status', (_request, reply) => {
    const { version, bundles } = info()
    const status = {
      labels: { ...config().labels, version },
      bundles: Object.fromEntries(
        bundles.map(({ name, revision, activated_at, last_error }) => [
          name,
          {
            name,
            active_revision: revision,
            last_successful_activation: activated_at,
            type: 'snapshot',
            ...(last_error !== undefined && { message: last_error }),
          },
        ]),
      ),
      plugins: { bundle: { state: bundles.length > 0 ? 'OK' : 'NOT_READY' }, decision_logs: { state: 'OK' } },
    }
    return reply.header('cache-control', 'no-store').send({ result: status })
  })
}
