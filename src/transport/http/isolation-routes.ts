// Revocations and quarantines over HTTP. Behind the admin scope; each act asks for its role. What is done is done behind the port.
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { type JsonLimits, parseStrictJson } from '../../decision/strict-json.ts'
import { PdpError } from '../../errors.ts'
import { invalid } from '../decide-request.ts'
import { jsonHeaders } from './answer.ts'
import { callerOf } from './authentication.ts'
import { type HasRole, operatorOf } from './operator-request.ts'

export const isolationSchema = z
  .object({
    id: z.uuid(),
    kind: z.enum(['caller', 'client', 'subject', 'jti', 'kid', 'session', 'issued_before']),
    value: z.string(),
    before: z.iso.datetime().optional().describe('Tokens of the trust domain that were issued earlier'),
    allowed_actions: z.array(z.string()).optional().describe('What a quarantine leaves'),
    reason: z.string(),
    author: z.string(),
    at: z.iso.datetime(),
    expires_at: z.iso.datetime().optional(),
    ended_by: z.string().optional(),
    ended_at: z.iso.datetime().optional(),
  })
  .describe('A revocation or a quarantine')

export type IsolationInfo = z.infer<typeof isolationSchema>
export type IsolationEffect = 'revoked' | 'quarantined'

export interface IsolationDemand {
  readonly kind: IsolationInfo['kind']
  readonly value: string
  /** Milliseconds since 1970. */
  readonly before: number | undefined
  readonly actions: readonly string[]
  readonly reason: string
  readonly expiresAtMs: number | undefined
}

/** Everything throws PdpError. */
export interface IsolationAdmin {
  add(effect: IsolationEffect, demand: IsolationDemand, author: string): Promise<IsolationInfo>
  end(effect: IsolationEffect, id: string, actor: string): Promise<IsolationInfo>
  list(effect: IsolationEffect): readonly IsolationInfo[]
}

export interface IsolationRouteOptions {
  readonly isolationAdmin: IsolationAdmin
  readonly hasRole: HasRole
  readonly limits: JsonLimits
}

const text = z.string().min(1).max(2_048)
const common = {
  value: text,
  reason: z.string().max(1_024).default(''),
  expires_in_s: z
    .int()
    .min(1)
    .max(10 * 365 * 86_400)
    .optional(),
}
const revocation = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.enum(['caller', 'client', 'subject', 'jti', 'kid', 'session']), ...common }),
  z.strictObject({ kind: z.literal('issued_before'), ...common, before: z.iso.datetime({ offset: true }) }),
])
const quarantine = z.strictObject({
  kind: z.enum(['caller', 'client', 'subject']),
  ...common,
  allowed_actions: z.array(text).max(100).default([]),
})

const routes = {
  revoked: { path: '/v1/revocations', role: 'revoke', schema: revocation },
  quarantined: { path: '/v1/quarantines', role: 'quarantine', schema: quarantine },
} as const

export function isolationRoutes(app: FastifyInstance, { isolationAdmin, hasRole, limits }: IsolationRouteOptions): void {
  for (const effect of ['revoked', 'quarantined'] as const) {
    const { path, role, schema } = routes[effect]
    app.get(path, async (request, reply) => {
      // Those who look need not be those who act.
      if (!hasRole(callerOf(request), role)) operatorOf(request, 'audit', hasRole)
      return reply.headers(jsonHeaders).send(JSON.stringify({ entries: isolationAdmin.list(effect) }))
    })
    app.post(path, async (request, reply) => {
      const actor = operatorOf(request, role, hasRole)
      const { value } = parseStrictJson((request.body as string | undefined) ?? '', limits)
      const parsed = schema.safeParse(value)
      if (!parsed.success) throw invalid(parsed.error)
      const entry = await isolationAdmin.add(effect, demandOf(parsed.data), actor)
      return reply.code(201).headers(jsonHeaders).send(JSON.stringify(entry))
    })
    app.delete(`${path}/:id`, async (request, reply) => {
      const actor = operatorOf(request, role, hasRole)
      const { id } = request.params as { readonly id: string }
      if (!z.uuid().safeParse(id).success) throw new PdpError('ERR_NOT_FOUND', 'there is no such entry')
      return reply.headers(jsonHeaders).send(JSON.stringify(await isolationAdmin.end(effect, id, actor)))
    })
  }
}

function demandOf(given: z.infer<typeof revocation> | z.infer<typeof quarantine>): IsolationDemand {
  const { kind, value, reason, expires_in_s: seconds } = given
  return {
    kind,
    value,
    before: 'before' in given ? Date.parse(given.before) : undefined,
    actions: 'allowed_actions' in given ? given.allowed_actions : [],
    reason,
    expiresAtMs: seconds === undefined ? undefined : Date.now() + seconds * 1_000,
  }
}
