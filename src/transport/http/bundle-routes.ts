// The life of bundles over HTTP: push, look, approve, activate, go back. Behind the admin scope; each act asks for its role. What
// is done is done behind the port BundleAdmin.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { elementsOf, membersOf } from '../../decision/json-text.ts'
import type { JsonText } from '../../decision/request.ts'
import { type JsonLimits, parseStrictJson } from '../../decision/strict-json.ts'
import { PdpError } from '../../errors.ts'
import { invalid } from '../decide-request.ts'
import { jsonHeaders } from './answer.ts'
import { isJsonType, registerJsonBody } from './body.ts'
import { type HasRole, operatorOf, type Role, wholeNumber } from './operator-request.ts'

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/, 'must be `sha256:` and 64 hexadecimal digits')

export const revisionSchema = z
  .object({
    name: z.string(),
    digest,
    revision: z.string().describe("The author's label"),
    origin: z.string().describe('How it came: push, pull, disk, patch, delta'),
    pushed_by: z.string(),
    pushed_at: z.iso.datetime(),
    bytes: z.int(),
    status: z.enum(['checking', 'interrupted', 'rejected', 'held', 'ready']),
    needed_approvals: z.int(),
    approved_by: z.array(z.string()),
    needed_signers: z.int().describe('Different keys that must have signed it'),
    signed_by: z.array(z.string()).describe('IDs of the keys that signed it'),
    expires_at: z.iso.datetime().optional().describe('When the first of its signatures expires'),
    active: z.boolean(),
    epoch: z.int().optional().describe('Set where it answers'),
    report: z.unknown().optional().describe('What the checks found'),
  })
  .describe('A revision of a bundle')

export type RevisionInfo = z.infer<typeof revisionSchema>

export interface ActInfo {
  readonly seq: number
  readonly time: string
  readonly actor: string
  readonly act: string
  readonly bundle: string
  readonly digest: string
  readonly epoch?: number
  readonly detail: string
}

/** An operation of JSON Patch (RFC 6902), its value as JSON text. */
export type DataOperation = z.infer<typeof operationSchema> & { readonly value?: JsonText | undefined }

const operationSchema = z.object({
  op: z.enum(['add', 'remove', 'replace', 'move', 'copy', 'test']),
  path: z.string().max(1_024),
  from: z.string().max(1_024).optional(),
})

/** Everything throws PdpError. */
export interface ArchiveAnswer {
  readonly digest: string
  readonly bytes: Buffer
  /** Of what answers now. */
  readonly epoch?: number | undefined
  /** Where the configuration names one. */
  readonly defaultEntrypoint?: string | undefined
}

export interface BundleAdmin {
  push(name: string, archive: Buffer, actor: string): Promise<RevisionInfo>
  patch(name: string, operations: readonly DataOperation[], epoch: number, actor: string): Promise<RevisionInfo>
  revisions(name: string): readonly RevisionInfo[]
  revision(name: string, digest: string): RevisionInfo
  /** @param digest undefined: what answers now, with its epoch */
  archive(name: string, digest: string | undefined): ArchiveAnswer
  approve(name: string, digest: string, actor: string): Promise<RevisionInfo>
  /** @param envelope JSON text */
  sign(name: string, digest: string, envelope: JsonText, actor: string): Promise<RevisionInfo>
  activate(name: string, digest: string, actor: string): Promise<RevisionInfo>
  rollback(name: string, digest: string | undefined, actor: string): Promise<RevisionInfo>
  /** @param digest undefined: ends it */
  shadow(name: string, digest: string | undefined, actor: string): Promise<void>
  /** Which recorded decisions would be others by `to` than by `from`. */
  compare(name: string, from: string, to: string): Promise<object>
  /** What a candidate would have said otherwise so far; undefined: there is none. */
  shadowReport(name: string): object | undefined
  collect(keep: number, maxAgeDays: number, actor: string): Promise<readonly RevisionInfo[]>
  acts(after: number, limit: number, name: string | undefined): readonly ActInfo[]
  /** @returns ends that */
  onAct(listener: () => void): () => void
}

export interface BundleRouteOptions {
  readonly bundleAdmin: BundleAdmin
  readonly hasRole: HasRole
  readonly maxBundleBytes: number
  readonly maxBodyBytes: number
  readonly limits: JsonLimits
}

const bodies = {
  digest: z.strictObject({ digest }),
  envelope: z.strictObject({ digest, envelope: z.record(z.string(), z.unknown()) }),
  compare: z.strictObject({ from: digest, to: digest }),
  rollback: z.strictObject({ digest: digest.optional() }),
  collect: z.strictObject({ keep: z.int().min(1).default(10), max_age_days: z.number().min(0).default(90) }),
}

const archiveTypes = ['application/gzip', 'application/octet-stream', 'application/vnd.openpolicyagent.bundles', 'application/x-gzip']

interface Params {
  readonly name: string
  readonly digest: string
}

export function bundleRoutes(
  app: FastifyInstance,
  { bundleAdmin, hasRole, maxBundleBytes, maxBodyBytes, limits }: BundleRouteOptions,
): void {
  const actorOf = (request: FastifyRequest, role: Role) => operatorOf(request, role, hasRole)
  const bodyOf = <T>(request: FastifyRequest, schema: z.ZodType<T>): T => {
    const { value } = parseStrictJson((request.body as string | undefined) || '{}', limits)
    const parsed = schema.safeParse(value)
    if (parsed.success) return parsed.data
    throw invalid(parsed.error)
  }
  const named = (request: FastifyRequest) => (request.params as Params).name

  app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: maxBundleBytes }, (request, body, done) => {
      const type = request.headers['content-type']?.split(';')[0]?.trim().toLowerCase()
      if (archiveTypes.includes(type ?? '')) done(null, body)
      else done(new PdpError('ERR_UNSUPPORTED_MEDIA_TYPE', `the content type must be ${archiveTypes[0]}`))
    })
    // The role is looked at before the archive is read.
    scope.addHook('onRequest', async (request) => void actorOf(request, 'push'))
    scope.put('/v1/bundles/:name', async (request, reply) => {
      if (!Buffer.isBuffer(request.body)) throw new PdpError('ERR_INVALID_REQUEST', 'the body is empty')
      const pushed = await bundleAdmin.push(named(request), request.body, actorOf(request, 'push'))
      return send(reply, pushed, statusOf(pushed))
    })
  })
  app.register(async (scope) => {
    registerJsonBody(scope, maxBodyBytes, {
      isType: (type) => isJsonType(type) || isJsonType(type?.replace('json-patch+json', 'json')),
      mayBeEmpty: false,
    })
    scope.patch('/v1/bundles/:name/data', async (request, reply) => {
      const actor = actorOf(request, 'patch')
      const [, epoch] = /^"?(\d{1,15})"?$/.exec(request.headers['if-match'] ?? '') ?? []
      if (epoch === undefined) throw new PdpError('ERR_INVALID_REQUEST', 'If-Match must be the epoch that the change is for')
      const changed = await bundleAdmin.patch(
        named(request),
        operationsOf((request.body as string | undefined) ?? '', limits),
        Number(epoch),
        actor,
      )
      return send(reply, changed, statusOf(changed))
    })
  })

  app.get('/v1/bundles/:name', async (request, reply) => send(reply, { revisions: bundleAdmin.revisions(named(request)) }))
  app.get('/v1/bundles/:name/revisions/:digest', async (request, reply) =>
    send(reply, bundleAdmin.revision(named(request), (request.params as Params).digest)),
  )
  // OPA's bundle protocol: what answers now, with an ETag.
  app.get('/v1/bundles/:name/archive', async (request, reply) => sendArchive(request, reply, undefined))
  app.get('/v1/bundles/:name/revisions/:digest/archive', async (request, reply) =>
    sendArchive(request, reply, (request.params as Params).digest),
  )
  app.post('/v1/bundles/:name/approve', async (request, reply) => {
    const actor = actorOf(request, 'approve')
    return send(reply, await bundleAdmin.approve(named(request), bodyOf(request, bodies.digest).digest, actor))
  })
  // Whoever sends an envelope need not be who signed it.
  app.post('/v1/bundles/:name/signatures', async (request, reply) => {
    const actor = actorOf(request, 'push')
    const { digest, envelope } = bodyOf(request, bodies.envelope)
    return send(reply, await bundleAdmin.sign(named(request), digest, JSON.stringify(envelope), actor))
  })
  app.post('/v1/bundles/:name/activate', async (request, reply) => {
    const actor = actorOf(request, 'operate')
    return send(reply, await bundleAdmin.activate(named(request), bodyOf(request, bodies.digest).digest, actor))
  })
  app.post('/v1/bundles/:name/rollback', async (request, reply) => {
    const actor = actorOf(request, 'operate')
    return send(reply, await bundleAdmin.rollback(named(request), bodyOf(request, bodies.rollback).digest, actor))
  })
  // The answer names subjects and resources of recorded decisions.
  app.post('/v1/bundles/:name/compare', async (request, reply) => {
    actorOf(request, 'audit')
    const { from, to } = bodyOf(request, bodies.compare)
    return send(reply, await bundleAdmin.compare(named(request), from, to))
  })
  app.put('/v1/bundles/:name/shadow', async (request, reply) => {
    const actor = actorOf(request, 'operate')
    await bundleAdmin.shadow(named(request), bodyOf(request, bodies.digest).digest, actor)
    return send(reply, bundleAdmin.shadowReport(named(request)))
  })
  app.get('/v1/bundles/:name/shadow', async (request, reply) => {
    const report = bundleAdmin.shadowReport(named(request))
    if (report === undefined) throw new PdpError('ERR_NOT_FOUND', 'no revision answers in the shadow')
    return send(reply, report)
  })
  app.delete('/v1/bundles/:name/shadow', async (request, reply) => {
    const actor = actorOf(request, 'operate')
    const report = bundleAdmin.shadowReport(named(request))
    await bundleAdmin.shadow(named(request), undefined, actor)
    return send(reply, report)
  })
  app.post('/v1/bundles/gc', async (request, reply) => {
    const actor = actorOf(request, 'operate')
    const { keep, max_age_days } = bodyOf(request, bodies.collect)
    return send(reply, { removed: await bundleAdmin.collect(keep, max_age_days, actor) })
  })
  app.get('/v1/acts', async (request, reply) => {
    actorOf(request, 'audit')
    const numberOf = (given: string | undefined, otherwise: number) => wholeNumber(given, otherwise, '`after` and `limit` must be numbers')
    const { after, limit, name } = request.query as Readonly<Record<string, string | undefined>>
    return send(reply, { acts: bundleAdmin.acts(numberOf(after, 0), Math.min(numberOf(limit, 100), 1_000), name) })
  })

  function sendArchive(request: FastifyRequest, reply: FastifyReply, wanted: string | undefined): FastifyReply {
    actorOf(request, 'pull')
    const found = bundleAdmin.archive(named(request), wanted)
    reply.header('etag', `"${found.digest}"`).header('cache-control', 'no-cache')
    // For those who decide themselves.
    if (found.epoch !== undefined) reply.header('verdict-epoch', String(found.epoch))
    if (found.defaultEntrypoint !== undefined) reply.header('verdict-default-entrypoint', encodeURIComponent(found.defaultEntrypoint))
    if (request.headers['if-none-match'] === `"${found.digest}"`) return reply.code(304).send()
    return reply.header('content-type', 'application/gzip').send(found.bytes)
  }
}

function statusOf({ status, active }: RevisionInfo): number {
  return status === 'rejected' ? 422 : active ? 200 : 202
}

/** @throws PdpError as parseStrictJson; ERR_INVALID_REQUEST */
function operationsOf(body: string, limits: JsonLimits): DataOperation[] {
  const { value, text } = parseStrictJson(body, limits)
  const parsed = z.array(operationSchema).safeParse(value)
  if (!parsed.success) throw new PdpError('ERR_INVALID_REQUEST', 'the body must be a list of operations of JSON Patch')
  return elementsOf(text.trim()).map((operation, i) => ({
    ...(parsed.data[i] as z.infer<typeof operationSchema>),
    value: membersOf(operation).get('value'),
  }))
}

function send(reply: FastifyReply, value: unknown, status = 200): FastifyReply {
  return reply.code(status).headers(jsonHeaders).send(JSON.stringify(value))
}
