// The admin scope: what runs here. Behind the token of the local administrator; browsers of other origins are refused.
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { PdpError } from '../../errors.ts'

const bundleInfoSchema = z.object({
  name: z.string(),
  revision: z.string(),
  digest: z.string(),
  epoch: z.int().min(1),
  activated_at: z.iso.datetime(),
  entrypoints: z.array(z.string()),
  default_entrypoint: z.string().optional(),
  memory_bytes: z.int().min(0),
  signed_by: z.array(z.string()).describe('IDs of the keys that signed it'),
  expires_at: z.iso.datetime().optional().describe('When the first of its signatures expires'),
  stale: z.boolean().describe('Whether that has passed'),
  last_error: z.string().optional().describe('Why the newest candidate was not activated'),
})

export const infoSchema = z
  .object({
    name: z.literal('verdict'),
    version: z.string(),
    opa_version: z.string().describe('Version of Open Policy Agent inside the Rego toolchain'),
    toolchain_sha256: z.string(),
    started_at: z.iso.datetime(),
    cache: z
      .object({ hits: z.int(), misses: z.int(), passed: z.int(), entries: z.int(), bytes: z.int() })
      .describe('Decisions given again, made and kept, made and not kept, since the start; and how many are kept now'),
    callers: z
      .object({
        handshakes: z.record(z.string(), z.int()).describe('TLS handshakes that were `accepted`, and those refused by code'),
        requests: z.record(z.string(), z.int()).describe('Requests by how their caller is known, and those refused by code'),
      })
      .describe('What became of callers since the start'),
    bundles: z.array(bundleInfoSchema),
  })
  .describe('GET /v1/info')

export type Info = z.infer<typeof infoSchema>

export function adminRoutes(app: FastifyInstance, info: () => Info): void {
  app.addHook('onRequest', async (request) => refuseForeignOrigin(request))
  app.get('/v1/info', (_request, reply) => reply.header('cache-control', 'no-store').send(info()))
  app.get('/v1/bundles', (_request, reply) => reply.header('cache-control', 'no-store').send({ bundles: info().bundles }))
}

function refuseForeignOrigin(request: FastifyRequest): void {
  const { origin, host } = request.headers
  if (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`) {
    throw new PdpError('ERR_ORIGIN_REFUSED', 'requests from pages of another origin are refused')
  }
}
