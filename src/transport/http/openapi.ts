// The HTTP doors as an OpenAPI 3.1 document, from the schemas that the doors use themselves. Its examples are questions to the
// starter policies; test/transport/openapi.test.ts sends each of them.
// @see https://spec.openapis.org/oas/v3.1.0
import { z } from 'zod'
import { searchSchemas } from '../authzen-search.ts'
import { decideAnswerSchema, decideRequestSchema, decisionSchema, errorAnswerSchema } from '../decide-schema.ts'
import { infoSchema } from './admin-routes.ts'
import { revisionSchema } from './bundle-routes.ts'
import { isolationSchema } from './isolation-routes.ts'
import { type Example, type Json, type Operation, operations } from './openapi-operations.ts'

const schemas = {
  DecideRequest: z.toJSONSchema(decideRequestSchema, { io: 'input' }),
  DecideAnswer: z.toJSONSchema(decideAnswerSchema),
  Evaluation: z.toJSONSchema(decideRequestSchema.omit({ policy: true, token: true, min_epoch: true, explain: true }), { io: 'input' }),
  EvaluationAnswer: z.toJSONSchema(decisionSchema.pick({ decision: true, context: true })),
  EvaluationsAnswer: z.toJSONSchema(z.object({ evaluations: z.array(decisionSchema.pick({ decision: true, context: true })) })),
  SearchSubject: z.toJSONSchema(searchSchemas.subject, { io: 'input' }),
  SearchResource: z.toJSONSchema(searchSchemas.resource, { io: 'input' }),
  SearchAction: z.toJSONSchema(searchSchemas.action, { io: 'input' }),
  SearchAnswer: z.toJSONSchema(
    z.object({ page: z.object({ next_token: z.string(), count: z.int().min(0) }), results: z.array(z.looseObject({})) }),
  ),
  OpaInput: z.toJSONSchema(z.looseObject({ input: z.unknown().optional() })),
  OpaBatch: z.toJSONSchema(z.looseObject({ inputs: z.record(z.string(), z.unknown()), common_input: z.unknown().optional() })),
  OpaCompile: z.toJSONSchema(
    z.looseObject({ input: z.unknown().optional(), unknowns: z.array(z.string()).optional(), options: z.looseObject({}).optional() }),
  ),
  Info: z.toJSONSchema(infoSchema),
  Revision: z.toJSONSchema(revisionSchema),
  Isolation: z.toJSONSchema(isolationSchema),
  Patch: z.toJSONSchema(z.array(z.looseObject({ op: z.string(), path: z.string() }))),
  Error: z.toJSONSchema(errorAnswerSchema),
  Object: z.toJSONSchema(z.looseObject({})),
  Any: {},
}

/** @param version of the service @returns the whole document */
export function openapi(version: string): Json {
  const paths: Record<string, Record<string, Json>> = {}
  for (const operation of operations) paths[operation.path] = { ...paths[operation.path], [operation.method]: describe(operation) }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Verdict',
      version,
      description: 'A policy decision point: may this subject do this action on this resource, now?',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/', description: 'This service' }],
    tags: ['native', 'AuthZEN', 'OPA', 'gateways', 'bundles', 'isolation', 'operations'].map((name) => ({ name })),
    paths,
    components: {
      schemas: Object.fromEntries(
        Object.entries(schemas).map(([name, { $schema: _, ...schema }]: [string, { $schema?: string }]) => [name, schema]),
      ),
      securitySchemes: {
        caller: { type: 'http', scheme: 'bearer', description: 'The token of callers, where `authentication.decideTokenFile` names one' },
        administrator: { type: 'http', scheme: 'bearer', description: 'The token in the state folder' },
        gateway: { type: 'apiKey', in: 'header', name: 'x-verdict-authorization', description: "A gateway's own token, `Bearer …`" },
      },
    },
  }
}

/** Examples by the operations that take them. */
export function listExamples(): { readonly method: string; readonly path: string; readonly example: Example }[] {
  return operations.flatMap(({ method, path, examples = {} }) => Object.values(examples).map((example) => ({ method, path, example })))
}

const archive = { 'application/gzip': { schema: { type: 'string', format: 'binary' } } }

function describe({ id, tag, summary, scope, request, answer, examples, statuses = {}, parameters }: Operation): Json {
  const failures =
    scope === 'decide' && tag !== 'gateways'
      ? { 401: 'The caller is not authenticated', 503: 'There is nothing to answer with; ask again later' }
      : scope === 'admin'
        ? { 401: 'The caller is no operator' }
        : {}
  const all: Record<string, string> = { 200: 'The answer', ...failures, ...statuses }
  const content = (schema: string) => ({ 'application/json': { schema: { $ref: `#/components/schemas/${schema}` } } })
  const shown = examples && Object.fromEntries(Object.entries(examples).map(([name, { summary, value }]) => [name, { summary, value }]))
  return {
    operationId: id,
    tags: [tag],
    summary,
    security:
      scope === 'public'
        ? []
        : scope === 'admin'
          ? [{ administrator: [] }]
          : tag === 'gateways'
            ? [{}, { gateway: [] }]
            : [{}, { caller: [] }],
    ...(parameters !== undefined && { parameters }),
    ...(request !== undefined && {
      requestBody: {
        required: true,
        content:
          request === 'Archive'
            ? archive
            : {
                'application/json': {
                  schema: { $ref: `#/components/schemas/${request}` },
                  ...(shown !== undefined && { examples: shown }),
                },
              },
      },
    }),
    responses: Object.fromEntries(
      Object.entries(all).map(([status, description]) => {
        const schema = Number(status) < 300 ? answer : tag === 'gateways' ? undefined : tag === 'OPA' ? 'Object' : 'Error'
        return [status, { description, ...(schema !== undefined && { content: content(schema) }) }]
      }),
    ),
  }
}
