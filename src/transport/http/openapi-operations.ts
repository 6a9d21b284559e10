// The HTTP doors one by one, for openapi.ts: what they are for, what they take, what they answer, what a client may send as it stands.

export type Json = Readonly<Record<string, unknown>>

const alice = { type: 'user', id: 'alice' }
const roadmap = { type: 'document', id: 'roadmap' }
const mayAliceRead = { subject: alice, action: { name: 'read' }, resource: roadmap }

const searchExamples = {
  subject: { ...mayAliceRead, subject: { type: 'user' } },
  resource: { ...mayAliceRead, resource: { type: 'document' } },
  action: { subject: alice, resource: roadmap },
} as const

/** What a client may send as it stands, and the status of the answer. */
export interface Example {
  readonly summary: string
  readonly value: Json
  readonly status: number
}

export interface Operation {
  readonly path: string
  readonly method: 'get' | 'post' | 'put' | 'patch' | 'delete'
  readonly id: string
  readonly tag: string
  readonly summary: string
  readonly scope: 'public' | 'decide' | 'admin'
  /** Schema of its JSON; `Archive`: a bundle. */
  readonly request?: string
  readonly answer?: string
  readonly examples?: Readonly<Record<string, Example>>
  /** Statuses beside those that every operation of the scope has. */
  readonly statuses?: Readonly<Record<number, string>>
  readonly parameters?: readonly Json[]
}

const pathParameter = (name: string, description: string): Json => ({
  name,
  in: 'path',
  required: true,
  schema: { type: 'string' },
  description,
})
const queryParameter = (name: string, description: string): Json => ({
  name,
  in: 'query',
  required: false,
  schema: { type: 'string' },
  description,
})
const headerParameter = (name: string, description: string): Json => ({
  name,
  in: 'header',
  required: true,
  schema: { type: 'string' },
  description,
})
const entrypointPath = pathParameter('path', 'An entrypoint, `package/rule`')
const opaSwitches = ['pretty', 'metrics', 'provenance', 'explain'].map((name) => queryParameter(name, 'As in OPA'))
const gatewayStatuses = {
  200: 'The request may pass; header fields for it',
  401: 'The credentials of the request are not valid',
  403: 'The request must not pass',
}
const bodyNeeded = { 400: 'The request is malformed', 413: 'The body or the batch is too large', 415: 'The body is not JSON' }

const bundleName = pathParameter('name', 'Name of the bundle')
const revisionDigest = pathParameter('digest', '`sha256:` and 64 hexadecimal digits')
const bundle = { tag: 'bundles', scope: 'admin', parameters: [bundleName] } as const
const noRole = { 403: 'The operator does not have the role' }
const noRevision = { 404: 'There is no such bundle or revision' }
const notReady = { 409: 'The revision is not in a state for this' }
const isolationId = pathParameter('id', 'ID of the entry')
const isolationOperations: readonly Operation[] = [
  ...(['revocations', 'quarantines'] as const).flatMap((what) => [
    {
      tag: 'isolation',
      scope: 'admin' as const,
      path: `/v1/${what}`,
      method: 'get' as const,
      id: `list_${what}`,
      summary: `The ${what} that hold and that have ended, newest first`,
      answer: 'Object',
      statuses: noRole,
    },
    {
      tag: 'isolation',
      scope: 'admin' as const,
      path: `/v1/${what}`,
      method: 'post' as const,
      id: `add_${what}`,
      summary: what === 'revocations' ? 'Answer an identity or a token no longer, at any door' : 'Deny an identity all but listed actions',
      request: 'Object',
      answer: 'Isolation',
      statuses: { 201: 'It holds', ...noRole },
    },
    {
      tag: 'isolation',
      scope: 'admin' as const,
      path: `/v1/${what}/{id}`,
      method: 'delete' as const,
      id: `end_${what}`,
      summary: 'End one',
      answer: 'Isolation',
      parameters: [isolationId],
      statuses: { ...noRole, 404: 'There is no such entry', 409: 'It has ended already' },
    },
  ]),
]

const bundleOperations: readonly Operation[] = [
  {
    ...bundle,
    path: '/v1/bundles/{name}',
    method: 'put',
    id: 'pushBundle',
    summary: 'Push a bundle: it is checked, and answers where it may',
    request: 'Archive',
    answer: 'Revision',
    statuses: {
      202: 'Kept: it waits for approval or activation',
      400: 'The archive is malformed',
      ...noRole,
      409: 'Another archive has the same revision',
      413: 'The archive is too large',
      422: 'The checks rejected it; the report says why',
    },
  },
  {
    ...bundle,
    path: '/v1/bundles/{name}',
    method: 'get',
    id: 'bundleRevisions',
    summary: 'The revisions of a bundle, newest first',
    answer: 'Object',
    statuses: noRevision,
  },
  {
    ...bundle,
    path: '/v1/bundles/{name}/data',
    method: 'patch',
    id: 'patchData',
    summary: 'Change the data of what is active (JSON Patch), as a revision of its own',
    request: 'Patch',
    answer: 'Revision',
    parameters: [bundleName, headerParameter('if-match', 'Epoch that the change is for')],
    statuses: {
      202: 'Kept: it waits for approval or activation',
      400: 'The operations are malformed, or do not fit the data',
      ...noRole,
      ...noRevision,
      409: 'The bundle must be signed, or comes from a path',
      412: 'Another epoch is active',
      422: 'The checks rejected it; the report says why',
    },
  },
  {
    ...bundle,
    path: '/v1/bundles/{name}/revisions/{digest}',
    method: 'get',
    id: 'bundleRevision',
    summary: 'A revision, with the report of its checks',
    answer: 'Revision',
    parameters: [bundleName, revisionDigest],
    statuses: noRevision,
  },
  {
    ...bundle,
    path: '/v1/bundles/{name}/archive',
    method: 'get',
    id: 'activeArchive',
    summary: "The archive of what is active, with an ETag, as in OPA's bundle protocol",
    statuses: { 304: 'It is the one that If-None-Match names', ...noRole, ...noRevision },
  },
  {
    ...bundle,
    path: '/v1/bundles/{name}/revisions/{digest}/archive',
    method: 'get',
    id: 'revisionArchive',
    summary: 'The archive of a revision',
    parameters: [bundleName, revisionDigest],
    statuses: { 304: 'It is the one that If-None-Match names', ...noRole, ...noRevision },
  },
  ...(['approve', 'signatures', 'activate', 'rollback'] as const).map((act) => ({
    ...bundle,
    path: `/v1/bundles/{name}/${act}`,
    method: 'post' as const,
    id: `${act}Bundle`,
    summary: {
      approve: 'Approve a revision that another operator pushed',
      signatures: 'Hand in an envelope (DSSE) by which another key signs a revision',
      activate: 'Let a revision that is ready answer',
      rollback: 'Go back to what was active before, or to a revision, as a new epoch',
    }[act],
    request: 'Object',
    answer: 'Revision',
    statuses: { ...noRole, ...noRevision, ...notReady },
  })),
  {
    ...bundle,
    path: '/v1/bundles/{name}/compare',
    method: 'post',
    id: 'compareRevisions',
    summary: 'Which of the newest recorded decisions would be others by one revision than by another',
    request: 'Object',
    answer: 'Object',
    statuses: { ...noRole, ...noRevision, ...notReady },
  },
  ...(['put', 'get', 'delete'] as const).map((method) => ({
    ...bundle,
    path: '/v1/bundles/{name}/shadow',
    method,
    id: `${method}Shadow`,
    summary: {
      put: 'Let a revision answer beside what is active, unheard',
      get: 'What it would have said otherwise so far',
      delete: 'End that, with a last report',
    }[method],
    ...(method === 'put' && { request: 'Object' }),
    answer: 'Object',
    statuses: { ...noRole, ...noRevision, ...notReady },
  })),
  {
    ...bundle,
    path: '/v1/bundles/gc',
    method: 'post',
    id: 'collectRevisions',
    summary: 'Remove old revisions, never what is active or the way back',
    request: 'Object',
    answer: 'Object',
    parameters: [],
    statuses: noRole,
  },
  {
    ...bundle,
    path: '/v1/events',
    method: 'get',
    id: 'events',
    summary: 'Every act on bundles as it happens (text/event-stream)',
    parameters: [queryParameter('after', 'Number of the last event that is known; as the field Last-Event-ID')],
    statuses: noRole,
  },
  {
    ...bundle,
    path: '/metrics',
    method: 'get',
    id: 'metrics',
    tag: 'operations',
    summary: 'What is measured, in the text of Prometheus or as OpenMetrics',
    parameters: [],
    statuses: noRole,
  },
  {
    ...bundle,
    path: '/v1/log/checkpoint',
    method: 'get',
    id: 'checkpoint',
    summary: 'The newest signed checkpoint of the decision log (text/plain)',
    parameters: [],
    statuses: { ...noRole, 404: 'Nothing was recorded yet' },
  },
  {
    path: '/v1/changes',
    method: 'get',
    id: 'changes',
    tag: 'native',
    scope: 'decide',
    summary: 'For those who keep answers, all that ends one: epochs, and who was isolated, by digests (text/event-stream)',
    parameters: [queryParameter('decides', '`1`: also what those have to know who decide themselves')],
    statuses: { 403: 'The caller may not ask' },
  },
  {
    path: '/v1/reuses',
    method: 'post',
    id: 'reuses',
    tag: 'native',
    scope: 'decide',
    summary: 'How often answers were given again by whoever keeps them; each goes to the decision log',
    request: 'Object',
    statuses: { 204: 'Recorded' },
  },
  {
    ...bundle,
    path: '/v1/records',
    method: 'post',
    id: 'records',
    summary: 'Decisions that a caller made itself with a bundle from here, for the decision log; a record a line (application/x-ndjson)',
    parameters: [],
    statuses: { 204: 'Recorded', ...noRole },
  },
  {
    ...bundle,
    path: '/v1/acts',
    method: 'get',
    id: 'acts',
    summary: 'Who did what to bundles, oldest first',
    answer: 'Object',
    parameters: ['after', 'limit', 'name'].map((name) =>
      queryParameter(
        name,
        { after: 'Number of the last act that is known', limit: 'At most so many, up to 1,000', name: 'Of this bundle' }[name] as string,
      ),
    ),
    statuses: noRole,
  },
]

export const operations: readonly Operation[] = [
  {
    path: '/v1/decide',
    method: 'post',
    id: 'decide',
    tag: 'native',
    scope: 'decide',
    request: 'DecideRequest',
    answer: 'DecideAnswer',
    summary: 'May this subject do this action on this resource, now?',
    statuses: { ...bodyNeeded, 404: 'There is no such bundle or entrypoint' },
    examples: {
      allow: { summary: 'An editor may read', value: mayAliceRead, status: 200 },
      deny: {
        summary: 'A deny is an answer, too',
        value: { ...mayAliceRead, subject: { type: 'user', id: 'bob' }, action: { name: 'update' } },
        status: 200,
      },
      batch: {
        summary: 'Several questions at once',
        value: { ...mayAliceRead, evaluations: [{}, { resource: { type: 'document', id: 'handbook' } }] },
        status: 200,
      },
      explained: {
        summary: "With a trace of OPA's evaluator",
        value: { ...mayAliceRead, policy: 'main:authz/decision', explain: true },
        status: 200,
      },
      incomplete: { summary: 'A question without a resource', value: { subject: alice, action: { name: 'read' } }, status: 400 },
    },
  },
  {
    path: '/access/v1/evaluation',
    method: 'post',
    id: 'evaluate',
    tag: 'AuthZEN',
    scope: 'decide',
    request: 'Evaluation',
    answer: 'EvaluationAnswer',
    summary: 'Access Evaluation',
    statuses: bodyNeeded,
    examples: { one: { summary: 'One question', value: mayAliceRead, status: 200 } },
  },
  {
    path: '/access/v1/evaluations',
    method: 'post',
    id: 'evaluateAll',
    tag: 'AuthZEN',
    scope: 'decide',
    request: 'Evaluation',
    answer: 'EvaluationsAnswer',
    summary: 'Access Evaluations',
    statuses: bodyNeeded,
    examples: {
      several: {
        summary: 'Until the first deny',
        value: {
          ...mayAliceRead,
          evaluations: [{}, { action: { name: 'purge' } }, {}],
          options: { evaluations_semantic: 'deny_on_first_deny' },
        },
        status: 200,
      },
    },
  },
  ...(['subject', 'resource', 'action'] as const).map(
    (kind): Operation => ({
      path: `/access/v1/search/${kind}`,
      method: 'post',
      id: `search${kind[0]?.toUpperCase()}${kind.slice(1)}`,
      tag: 'AuthZEN',
      scope: 'decide',
      request: `Search${kind[0]?.toUpperCase()}${kind.slice(1)}`,
      answer: 'SearchAnswer',
      statuses: bodyNeeded,
      summary: { subject: 'Who may do this?', resource: 'What may this be done to?', action: 'What may be done?' }[kind],
      examples: { first: { summary: 'The first page', value: searchExamples[kind], status: 200 } },
    }),
  ),
  {
    path: '/.well-known/authzen-configuration',
    method: 'get',
    id: 'authzenMetadata',
    tag: 'AuthZEN',
    scope: 'decide',
    summary: 'Where the endpoints are',
    answer: 'Object',
  },
  {
    path: '/v1/data/{path}',
    method: 'post',
    id: 'opaData',
    tag: 'OPA',
    scope: 'decide',
    summary: 'The value of an entrypoint',
    request: 'OpaInput',
    answer: 'Object',
    parameters: [entrypointPath, ...opaSwitches],
    statuses: { 400: 'The body is not what it should be', 500: 'The evaluation failed' },
    examples: { input: { summary: 'The same question', value: { input: mayAliceRead }, status: 200 } },
  },
  {
    path: '/v1/data/{path}',
    method: 'get',
    id: 'opaDataGet',
    tag: 'OPA',
    scope: 'decide',
    summary: 'The same with the input as a parameter',
    answer: 'Object',
    parameters: [entrypointPath, queryParameter('input', 'JSON text'), ...opaSwitches],
    statuses: { 400: 'The input is not JSON', 500: 'The evaluation failed' },
  },
  {
    path: '/v0/data/{path}',
    method: 'post',
    id: 'opaDataV0',
    tag: 'OPA',
    scope: 'decide',
    summary: 'The body is the input, the answer the value',
    request: 'Any',
    answer: 'Any',
    parameters: [entrypointPath, queryParameter('pretty', 'As in OPA')],
    statuses: { 400: 'The body is not JSON', 404: 'The value is undefined', 500: 'The evaluation failed' },
    examples: { input: { summary: 'The same question', value: mayAliceRead, status: 200 } },
  },
  {
    path: '/',
    method: 'post',
    id: 'opaDefault',
    tag: 'OPA',
    scope: 'decide',
    summary: 'The default entrypoint, as v0',
    request: 'Any',
    answer: 'Any',
    statuses: { 400: 'The body is not JSON', 404: 'The value is undefined', 500: 'The evaluation failed' },
    examples: { input: { summary: 'The same question', value: mayAliceRead, status: 200 } },
  },
  {
    path: '/v1/batch/data/{path}',
    method: 'post',
    id: 'opaBatch',
    tag: 'OPA',
    scope: 'decide',
    summary: 'One entrypoint, many inputs',
    request: 'OpaBatch',
    answer: 'Object',
    parameters: [entrypointPath],
    statuses: {
      207: 'Some evaluations failed',
      400: 'There are no inputs',
      413: 'There are too many inputs',
      500: 'All evaluations failed',
    },
    examples: {
      two: {
        summary: 'Two inputs',
        value: { inputs: { a: mayAliceRead, b: { ...mayAliceRead, action: { name: 'purge' } } } },
        status: 200,
      },
    },
  },
  {
    path: '/v1/compile/{path}',
    method: 'post',
    id: 'opaCompile',
    tag: 'OPA',
    scope: 'decide',
    summary: 'A rule as a filter of data: SQL or UCAST',
    request: 'OpaCompile',
    answer: 'Object',
    parameters: [entrypointPath, headerParameter('accept', 'For example `application/vnd.opa.sql.postgresql+json`')],
    statuses: { 400: 'The rule cannot be said in that language', 404: 'There is no such entrypoint' },
  },
  ...(['', '/nginx', '/traefik', '/caddy'] as const).map(
    (gateway): Operation => ({
      path: `/v1/auth${gateway}`,
      method: 'get',
      id: `forwardAuth${gateway.slice(1)}`,
      tag: 'gateways',
      scope: 'decide',
      statuses: gatewayStatuses,
      summary: gateway === '' ? 'Forward auth by either convention of header fields' : `Forward auth of ${gateway.slice(1)}`,
    }),
  ),
  {
    path: '/v1/auth/envoy/{path}',
    method: 'get',
    id: 'extAuthz',
    tag: 'gateways',
    scope: 'decide',
    summary: "Envoy's ext_authz over HTTP; any method",
    parameters: [pathParameter('path', 'The path of the request')],
    statuses: gatewayStatuses,
  },
  { path: '/healthz', method: 'get', id: 'alive', tag: 'operations', scope: 'public', summary: 'Is the process alive?', answer: 'Object' },
  {
    path: '/readyz',
    method: 'get',
    id: 'ready',
    tag: 'operations',
    scope: 'public',
    summary: 'Can it answer?',
    answer: 'Object',
    statuses: { 503: 'Not now' },
  },
  {
    path: '/health',
    method: 'get',
    id: 'opaHealth',
    tag: 'OPA',
    scope: 'public',
    summary: "OPA's health check",
    answer: 'Object',
    parameters: ['bundles', 'plugins', 'exclude-plugin'].map((name) => queryParameter(name, 'As in OPA')),
    statuses: { 500: 'A check that was asked for fails' },
  },
  { path: '/v1/info', method: 'get', id: 'info', tag: 'operations', scope: 'admin', summary: 'What runs here', answer: 'Info' },
  { path: '/v1/bundles', method: 'get', id: 'bundles', tag: 'operations', scope: 'admin', summary: 'The active bundles', answer: 'Object' },
  ...bundleOperations,
  ...isolationOperations,
  { path: '/v1/status', method: 'get', id: 'opaStatus', tag: 'OPA', scope: 'admin', summary: "OPA's status", answer: 'Object' },
  { path: '/v1/config', method: 'get', id: 'opaConfig', tag: 'OPA', scope: 'admin', summary: "OPA's configuration", answer: 'Object' },
  { path: '/docs', method: 'get', id: 'docs', tag: 'operations', scope: 'admin', summary: 'This document', answer: 'Object' },
]
