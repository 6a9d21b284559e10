// The configuration: one schema for the file (YAML or JSON) and the VERDICT_* variables, and the only place that
// reads the environment. Faults are collected and reported together. docs/configuration.md is made from the schema.
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { parseDocument } from 'yaml'
import { z } from 'zod'
import { type Finding, PdpError } from './errors.ts'

const bundleName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/, 'letters, digits, `_` and `-`, at most 64')
const positive = z.int().min(1)
const jsonPointer = z.string().regex(/^(?:\/(?:[^~/]|~0|~1)*)+$/, 'a JSON pointer such as `/input/context/password`')

const networkEntry =
  /^(?:(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|[0-9a-fA-F:]+|\[[0-9a-fA-F:.]+\]|[0-9a-fA-F.:]+\/\d{1,3})(?::\d{1,5})?$/

const serverSchema = z.strictObject({
  host: z.string().min(1).default('127.0.0.1').describe('Address to listen on. Beyond loopback only with `authentication`.'),
  tls: z
    .strictObject({
      certFile: z.string().min(1).optional(),
      keyFile: z.string().min(1).optional(),
      workloadApi: z.string().min(1).optional(),
      minVersion: z.enum(['TLSv1.2', 'TLSv1.3']).default('TLSv1.3'),
      clientCertificates: z.enum(['none', 'optional', 'required']).optional(),
    })
    .refine(
      ({ certFile, keyFile, workloadApi }) =>
        (certFile === undefined) === (keyFile === undefined) && (certFile === undefined) !== (workloadApi === undefined),
      {
        message: 'either `certFile` and `keyFile`, or `workloadApi`',
      },
    )
    .optional()
    .describe(
      'TLS on both ports: `certFile` and `keyFile` in PEM, read again when they change, or `workloadApi`, the socket of a SPIFFE agent; `minVersion` (`TLSv1.3`, or `TLSv1.2`); `clientCertificates` `none`, `optional` or `required` (the default where `authentication.trustDomains` are). Absent: clear text.',
    ),
  port: z.int().min(0).max(65_535).default(8181).describe('HTTP port; 0 takes a free one.'),
  grpcPort: z.int().min(0).max(65_535).default(9191).describe('gRPC port; 0 takes a free one.'),
  hosts: z
    .array(z.string().min(1))
    .default([])
    .describe('Further values of the `Host` header that are answered, without port. Loopback names and `server.host` always are.'),
  maxBodyBytes: positive
    .max(64 * 2 ** 20)
    .default(2 ** 20)
    .describe('Largest request body, before and after decompression. Bytes.'),
  maxBundleBytes: positive
    .max(2 ** 30)
    .default(64 * 2 ** 20)
    .describe('Largest archive that can be pushed. Bytes.'),
  requestTimeoutMs: positive.default(10_000).describe('Longest time for a request to arrive whole. Milliseconds.'),
  drainTimeoutMs: z.int().min(0).default(10_000).describe('Longest time that running requests get after SIGTERM. Milliseconds.'),
})

const requestsSchema = z.strictObject({
  maxDepth: positive.max(1_000).default(64).describe('Deepest nesting of a body.'),
  maxMembers: positive.default(50_000).describe('Members and elements of a body, all together.'),
  maxBatchSize: positive.max(10_000).default(1_000).describe('Most evaluations in one request.'),
  identifiers: z
    .enum(['ascii', 'unicode'])
    .default('ascii')
    .describe(
      'Characters of types, IDs and names: printable ASCII, or any Unicode text in NFC without control, format, private and unassigned characters.',
    ),
})

const evaluationSchema = z.strictObject({
  maxSteps: positive.max(2_147_483_646).default(10_000_000).describe('Steps of one evaluation: turns of loops and calls of functions.'),
  callerStepsPerSecond: positive
    .max(1_000_000_000)
    .default(50_000_000)
    .describe(
      'Steps that one caller may use in a second, all its evaluations together; beyond, it is answered as overloaded. Callers are told apart by identity, else by address; without either, on the same machine, they have no such bound.',
    ),
  maxMemoryBytes: positive
    .min(2 ** 20)
    .max(2 ** 32)
    .default(64 * 2 ** 20)
    .describe('Memory of one evaluation beside the data of its bundle. Bytes.'),
  network: z
    .strictObject({
      allow: z
        .array(z.string().regex(networkEntry, 'a host name, `*.` and a domain, an address or a network such as `10.1.0.0/16`'))
        .default([])
        .describe(
          'Hosts that policies may reach with `http.send` and `net.lookup_ip_addr`: names, `*.` and a domain, addresses, networks; names and addresses may have `:port`. Names that lead to addresses of this machine or of private networks are refused unless these are listed too. Empty: none.',
        ),
      timeoutMs: positive.max(60_000).default(5_000).describe('Longest time for one request of a policy. Milliseconds.'),
      maxResponseBytes: positive
        .max(64 * 2 ** 20)
        .default(2 ** 20)
        .describe('Largest answer to a request of a policy. Bytes.'),
      threads: positive
        .max(64)
        .default(2)
        .describe('Threads that evaluate policies which use the network; each waits for one answer at a time.'),
    })
    .prefault({}),
  trustedKey: z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/)
    .default('trusted')
    .describe('Key of `input` under which policies find what the service established itself.'),
})

const gatewaysSchema = z.strictObject({
  policy: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}(?::[^\s:]{1,512})?$/, '`bundle` or `bundle:entry/point`')
    .optional()
    .describe(
      'Policy that ext_authz and the forward-auth routes ask, `bundle` or `bundle:entry/point`. Default: `envoy/authz/allow` where the bundle has it, as for opa-envoy-plugin, else its default entrypoint.',
    ),
  trustedProxies: z
    .array(z.string().regex(/^[0-9a-fA-F:.]+(?:\/\d{1,3})?$/, 'an address or a network such as `10.1.0.0/16`'))
    .default(['127.0.0.0/8', '::1'])
    .describe(
      'Addresses and networks of gateways whose `X-Forwarded-…` and `X-Original-…` fields are believed. Requests of others are denied at the forward-auth routes.',
    ),
  truncatedBodies: z
    .enum(['deny', 'pass'])
    .default('deny')
    .describe('What to do where a gateway sent a part of a body only: deny, or ask the policy without `parsed_body`.'),
  cacheControl: z
    .string()
    .regex(/^[\x20-\x7e]{1,256}$/)
    .default('no-store')
    .describe('`Cache-Control` of answers at the forward-auth routes, for gateways that keep them.'),
})

const authzenSchema = z.strictObject({
  publicUrl: z
    .string()
    .regex(/^https:\/\/[A-Za-z0-9._[\]:-]+$/, 'https, a host and perhaps a port, nothing behind')
    .optional()
    .describe('Where clients of AuthZEN reach this service, for its metadata. Default: https and the Host of the request.'),
  metadataKeyFile: z
    .string()
    .min(1)
    .optional()
    .describe('Private key in PEM (Ed25519, P-256, P-384, RSA) that signs the metadata. Default: they are not signed.'),
})

const decisionLogSchema = z.strictObject({
  folder: z.string().min(1).optional().describe('Folder of the records. Default: `decisions` in the state folder.'),
  maxFileBytes: positive.default(128 * 2 ** 20).describe('Size at which a new file begins. Bytes.'),
  maxFileAgeMs: positive.default(86_400_000).describe('Age at which a new file begins. Milliseconds.'),
  flushIntervalMs: positive.max(10_000).default(50).describe('Longest time that a record waits in memory. Milliseconds.'),
  maxPendingBytes: positive.default(64 * 2 ** 20).describe('Records in memory beyond which nothing is answered. Bytes.'),
  maxInputBytes: positive.default(256 * 2 ** 10).describe('Inputs larger than this are recorded by their hash. Bytes.'),
  mask: z.array(jsonPointer).default([]).describe('JSON pointers into the record whose values become null; `*` stands for every member.'),
  shard: z.string().min(1).max(64).default('0').describe('Name of this service in records that several services write to one place.'),
})

const gateSchema = z.strictObject({
  minCoverage: z.number().min(0).max(100).default(0).describe('Percent of lines that the tests in the bundle must cover.'),
  replay: z.int().min(0).max(100_000).default(1_000).describe('Newest recorded decisions that a candidate is asked again; 0: none.'),
  maxFlips: z.int().min(0).default(0).describe('Recorded decisions that may change without approval.'),
  timeoutMs: positive.default(60_000).describe('Longest time for loading and asking a candidate. Milliseconds.'),
})

const signatureSchema = z.strictObject({
  required: z.boolean().default(false).describe('Whether unsigned bundles are refused. What is signed is verified in any case.'),
  keys: z.array(z.string().min(1)).optional().describe('IDs of the keys that count; default: all of `keys`.'),
  scope: z.string().min(1).optional().describe('Scope that the signature must have.'),
  requireExpiry: z.boolean().default(false).describe('Whether the signed part must say when it expires.'),
  requireSequence: z.boolean().default(false).describe('Whether the signed part must have a sequence number, which only goes up.'),
  threshold: z
    .int()
    .min(1)
    .max(16)
    .default(1)
    .describe('Different keys that must have signed, in the archive or by envelopes, where more than one is wanted.'),
  expiryGraceMs: z
    .int()
    .min(0)
    .default(86_400_000)
    .describe('How long what is active goes on answering behind the expiry of its signature; then it denies. Milliseconds.'),
})

const pullSchema = z.strictObject({
  url: z.url({ protocol: /^https?$/ }).describe('Where a server has the bundle.'),
  tokenFile: z.string().min(1).optional().describe('File with the bearer token for the server.'),
  tls: z
    .strictObject({ caFile: z.string().min(1), certFile: z.string().min(1), keyFile: z.string().min(1) })
    .partial()
    .optional()
    .describe(
      'Files in PEM for an https server, read for each request: `caFile` of its authorities, `certFile` and `keyFile` of this service.',
    ),
  minDelayMs: positive.default(10_000).describe('Between two requests. Milliseconds.'),
  maxDelayMs: positive.default(300_000).describe('Between two requests behind failures. Milliseconds.'),
  timeoutMs: positive.default(30_000).describe('Longest time for a whole download. Milliseconds.'),
  longPollMs: z.int().min(0).max(600_000).default(0).describe('How long a server may hold a request that has nothing new; 0: not asked.'),
})

const keySchema = z.strictObject({
  id: z.string().regex(/^[\x21-\x7e]{1,128}$/),
  algorithm: z.enum(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'HS256', 'HS384', 'HS512']),
  file: z.string().min(1),
})

const bundleSchema = z.strictObject({
  name: bundleName.default('main').describe('Name of the bundle.'),
  path: z
    .string()
    .min(1)
    .optional()
    .describe('A bundle (`.tar.gz`), or a folder of Rego and data. Absent: the bundle is pushed or pulled.'),
  pull: pullSchema.optional().describe("A server that has the bundle, by OPA's protocol."),
  defaultEntrypoint: z.string().min(1).optional().describe('Entrypoint of requests that name none.'),
  approvals: z.int().min(0).max(16).default(0).describe('Approvals that every revision needs, of others than who pushed it.'),
  activation: z
    .enum(['auto', 'manual'])
    .default('auto')
    .describe('Whether a revision answers as soon as it may, or when somebody says so.'),
  dataApprovals: z
    .array(
      z.strictObject({
        root: z.string().regex(/^[^/]+(?:\/[^/]+)*$/, 'a path such as `rbac/grants`'),
        approvals: z.int().min(1).max(16).default(1),
      }),
    )
    .default([])
    .describe('Approvals that a revision needs where it changes the data below a `root`.'),
  gate: gateSchema.prefault({}),
  signature: signatureSchema.prefault({}),
})

export const configSchema = z.strictObject({
  state: z.string().min(1).default('.verdict').describe('Folder of what the service keeps. One service a folder.'),
  watch: z.boolean().default(false).describe('Compile folders again when they change.'),
  bundles: z.array(bundleSchema).default([]).describe('Bundles to serve.'),
  keys: z
    .array(keySchema)
    .default([])
    .describe(
      'Keys that verify the signatures of bundles: `id`, `algorithm`, and `file`, a public key in PEM or the secret of an HS algorithm.',
    ),
  server: serverSchema.prefault({}),
  authentication: z
    .strictObject({
      decideTokenFile: z
        .string()
        .min(1)
        .optional()
        .describe('File with the bearer token that callers of the decide scope must send; read again when it changes.'),
      callers: z
        .array(
          z
            .strictObject({
              id: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9:._/@-]{0,127}$/, 'letters, digits and `:._/@-`'),
              tokenFile: z.string().min(1),
              spiffeId: z.string().min(1),
              issuer: z.string().min(1),
              subject: z.string().min(1),
              clientId: z.string().min(1),
              scope: z.string().min(1),
              roles: z.array(z.enum(['decide', 'pull', 'push', 'patch', 'approve', 'operate', 'audit', 'revoke', 'quarantine'])).min(1),
            })
            .partial({ id: true, tokenFile: true, spiffeId: true, issuer: true, subject: true, clientId: true, scope: true })
            .refine(
              ({ tokenFile, spiffeId, id, issuer, subject, clientId, scope }) =>
                [tokenFile, spiffeId, issuer].filter((one) => one !== undefined).length === 1 &&
                (tokenFile === undefined) === (id === undefined) &&
                (issuer !== undefined || (subject ?? clientId ?? scope) === undefined),
              {
                message: 'one of `id` with `tokenFile`, `spiffeId`, or `issuer` with perhaps `subject`, `clientId`, `scope`',
              },
            ),
        )
        .default([])
        .describe(
          'Who may call beside the local administrator: a token (`id`, `tokenFile`) or workloads (`spiffeId`, with `*` for a segment, `**` for all that follow), and `roles` of `decide`, `pull`, `push`, `patch`, `approve`, `operate`, `audit`, `revoke`, `quarantine`.',
        ),
      policy: z
        .string()
        .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}(?::[^\s:]{1,512})?$/, '`bundle` or `bundle:entry/point`')
        .optional()
        .describe(
          'Policy that gives roles beside `callers`, `bundle` or `bundle:entry/point`: asked with `{"caller": {"id", "spiffe_id"}, "role"}`, its answer remembered for a second.',
        ),
      releaseByAnother: z.boolean().default(false).describe('Whether a quarantine is released by somebody else than who began it.'),
      audiences: z
        .array(z.string().min(1).max(512))
        .default([])
        .describe('Names of this service in `aud` of tokens that callers bring. A token must be for one of them and for nobody else.'),
      issuers: z
        .array(
          z
            .strictObject({
              issuer: z.string().min(1).max(2_048),
              jwksUrl: z.url({ protocol: /^https?$/ }).optional(),
              jwksFile: z.string().min(1).optional(),
              algorithms: z
                .array(z.enum(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']))
                .min(1)
                .default(['RS256', 'PS256', 'ES256', 'EdDSA']),
              types: z.array(z.string().min(1)).min(1).default(['at+jwt']),
              requiredClaims: z.array(z.string().min(1)).default(['iss', 'sub', 'client_id', 'iat', 'jti']),
              maxLifetimeMs: positive.default(3_600_000),
              clockSkewMs: z.int().min(0).max(60_000).default(30_000),
              refreshMs: positive.min(1_000).default(300_000),
              cooldownMs: positive.min(100).default(500),
              maxStaleMs: positive.default(3_600_000),
              timeoutMs: positive.default(5_000),
            })
            .refine(({ jwksUrl, jwksFile }) => (jwksUrl === undefined) !== (jwksFile === undefined), {
              message: 'one of `jwksUrl` and `jwksFile`',
            }),
        )
        .default([])
        .describe(
          'Issuers of access tokens (RFC 9068) that callers bring: `issuer` exactly as `iss` says it, its keys by `jwksUrl` or `jwksFile`; `algorithms`, `types`, `requiredClaims`, `maxLifetimeMs`, `clockSkewMs`; for a URL `refreshMs`, `cooldownMs` between fetches for unknown keys, `maxStaleMs` for which the last good keys count, `timeoutMs`.',
        ),
      trustDomains: z
        .array(
          z.strictObject({
            name: z.string().regex(/^[a-z0-9._-]{1,255}$/, 'a trust domain in lower case'),
            bundleFile: z.string().min(1).optional(),
            crlFile: z.string().min(1).optional(),
            jwksFile: z.string().min(1).optional(),
          }),
        )
        .default([])
        .describe(
          'Trust domains of SPIFFE whose workloads are believed: `name`, `bundleFile` with its authorities and perhaps `crlFile` with their revocation lists, in PEM, `jwksFile` with keys of JWT-SVIDs (JSON), read again when they change. Without `bundleFile` they come from `server.tls.workloadApi`.',
        ),
    })
    .prefault({}),
  requests: requestsSchema.prefault({}),
  evaluation: evaluationSchema.prefault({}),
  gateways: gatewaysSchema.prefault({}),
  authzen: authzenSchema.prefault({}),
  decisionLog: decisionLogSchema.prefault({}),
  log: z
    .strictObject({
      level: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'silent']).default('info').describe('Least severity of what is logged.'),
    })
    .prefault({}),
  labels: z
    .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/), z.string().max(256))
    .default({})
    .describe('Constant facts about this service: in every record, and in `opa.runtime()` under `config.labels`.'),
})

export type Config = z.infer<typeof configSchema>

/** What holds for a bundle. */
export type BundleRules = Config['bundles'][number]

/** Rules of a bundle that the configuration does not name. */
export function defaultRules(name: string): BundleRules {
  return bundleSchema.parse({ name })
}

/** What a bundle can be called. */
export function isBundleName(name: string): boolean {
  return bundleName.safeParse(name).success
}

/** What of a configuration may be given, for overrides from the command line. */
export type ConfigOverrides = Readonly<Record<string, unknown>>

/** One setting: for the documentation and for the variables. */
export interface Setting {
  readonly path: readonly string[]
  readonly variable: string
  readonly schema: z.ZodType
}

/** All settings that are not groups, in the order of the schema. */
export function listSettings(): Setting[] {
  const settings: Setting[] = []
  const walk = (schema: z.ZodType, path: string[]) => {
    const inner = schema instanceof z.ZodPrefault ? schema.unwrap() : schema
    if (inner instanceof z.ZodObject) for (const [key, value] of Object.entries(inner.shape)) walk(value as z.ZodType, [...path, key])
    else settings.push({ path, variable: `VERDICT_${path.map(toUpperSnake).join('_')}`, schema })
  }
  walk(configSchema, [])
  return settings
}

/**
 * Reads the configuration: defaults, then the file, then variables, then overrides.
 * @throws PdpError ERR_CONFIG_INVALID with every fault as a finding
 */
export function loadConfig(options: { file?: string | undefined; env?: NodeJS.ProcessEnv; overrides?: ConfigOverrides } = {}): Config {
  const faults: Finding[] = []
  const merged = options.file === undefined ? {} : readFile(options.file, faults)
  applyVariables(merged, options.env ?? process.env, faults)
  for (const [path, value] of Object.entries(options.overrides ?? {})) if (value !== undefined) assign(merged, path.split('.'), value)
  const parsed = configSchema.safeParse(merged)
  if (!parsed.success) {
    for (const issue of parsed.error.issues)
      faults.push({ code: 'config', message: `${issue.path.join('.') || 'configuration'}: ${issue.message}` })
  }
  const config = parsed.data
  if (config !== undefined) faults.push(...crossChecks(config))
  if (config === undefined || faults.length > 0) {
    throw new PdpError('ERR_CONFIG_INVALID', `the configuration has ${faults.length} fault${faults.length === 1 ? '' : 's'}`, {
      findings: faults,
    })
  }
  return config
}

/** What commands that ask a running service take from the environment. */
export function clientDefaults(env: NodeJS.ProcessEnv = process.env): {
  readonly server: string | undefined
  readonly token: string | undefined
} {
  return { server: env.VERDICT_SERVER, token: env.VERDICT_TOKEN }
}

/** Loopback addresses and names, which no other machine reaches. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host)
}

function crossChecks(config: Config): Finding[] {
  const faults: Finding[] = []
  const { decideTokenFile, callers, trustDomains } = config.authentication
  if (
    !isLoopback(config.server.host) &&
    decideTokenFile === undefined &&
    config.authentication.policy === undefined &&
    !callers.some(({ roles }) => roles.includes('decide'))
  ) {
    faults.push({
      code: 'config',
      message: `server.host: \`${config.server.host}\` can be reached from other machines, so callers must authenticate: set authentication.callers or decideTokenFile, or listen on 127.0.0.1`,
    })
  }
  for (const proxy of config.gateways.trustedProxies) {
    const [address = '', prefix] = proxy.split('/')
    const family = isIP(address)
    if (family === 0 || (prefix !== undefined && Number(prefix) > (family === 4 ? 32 : 128))) {
      faults.push({ code: 'config', message: `gateways.trustedProxies: \`${proxy}\` is no address and no network` })
    }
  }
  const ids = new Set(config.keys.map(({ id }) => id))
  if (ids.size < config.keys.length) faults.push({ code: 'config', message: 'keys: an ID is given twice' })
  for (const { name, signature } of config.bundles) {
    const unknown = signature.keys?.find((id) => !ids.has(id))
    if (unknown !== undefined)
      faults.push({ code: 'config', message: `bundles: \`${name}\` wants the key \`${unknown}\`, which \`keys\` does not have` })
  }
  for (const { name, path, pull } of config.bundles) {
    if (path !== undefined && pull !== undefined) faults.push({ code: 'config', message: `bundles: \`${name}\` has a path and a server` })
    if ((pull?.tls?.certFile === undefined) !== (pull?.tls?.keyFile === undefined))
      faults.push({ code: 'config', message: `bundles: \`${name}\`: pull.tls needs both \`certFile\` and \`keyFile\`, or none` })
  }
  if (trustDomains.some(({ bundleFile }) => bundleFile !== undefined) && config.server.tls === undefined)
    faults.push({ code: 'config', message: 'authentication.trustDomains: certificates are shown over TLS only: set server.tls' })
  if (trustDomains.some(({ jwksFile }) => jwksFile !== undefined) && config.authentication.audiences.length === 0)
    faults.push({
      code: 'config',
      message: 'authentication.trustDomains: tokens are believed for an audience only: set authentication.audiences',
    })
  if (config.server.tls?.clientCertificates === 'required' && trustDomains.length === 0)
    faults.push({ code: 'config', message: 'server.tls.clientCertificates: nobody is believed without authentication.trustDomains' })
  const { issuers, audiences } = config.authentication
  if (issuers.length > 0 && audiences.length === 0)
    faults.push({
      code: 'config',
      message: 'authentication.issuers: tokens are believed for an audience only: set authentication.audiences',
    })
  if (new Set(issuers.map(({ issuer }) => issuer)).size < issuers.length)
    faults.push({ code: 'config', message: 'authentication.issuers: an issuer is given twice' })
  for (const { jwksUrl } of issuers) {
    if (jwksUrl?.startsWith('http:') && !isLoopback(new URL(jwksUrl).hostname))
      faults.push({ code: 'config', message: `authentication.issuers: \`${jwksUrl}\` is not https` })
  }
  for (const { issuer } of callers) {
    if (issuer !== undefined && !issuers.some((one) => one.issuer === issuer))
      faults.push({ code: 'config', message: `authentication.callers: the issuer \`${issuer}\` is none of authentication.issuers` })
  }
  for (const { name, bundleFile, crlFile, jwksFile } of trustDomains) {
    if (bundleFile === undefined && (crlFile !== undefined || (jwksFile === undefined && config.server.tls?.workloadApi === undefined)))
      faults.push({ code: 'config', message: `authentication.trustDomains: \`${name}\` needs a bundleFile` })
  }
  for (const { spiffeId } of callers) {
    const domain = spiffeId?.split('/')[2]
    if (domain !== undefined && !trustDomains.some(({ name }) => name === domain))
      faults.push({
        code: 'config',
        message: `authentication.callers: \`${spiffeId}\` is of a trust domain that authentication.trustDomains does not have`,
      })
  }
  const callerIds = callers.flatMap(({ id }) => (id === undefined ? [] : [id]))
  if (new Set(callerIds).size < callerIds.length) faults.push({ code: 'config', message: 'authentication.callers: an ID is given twice' })
  if (new Set(trustDomains.map(({ name }) => name)).size < trustDomains.length)
    faults.push({ code: 'config', message: 'authentication.trustDomains: a name is given twice' })
  const names = config.bundles.map((bundle) => bundle.name)
  for (const name of new Set(names.filter((name, i) => names.indexOf(name) !== i))) {
    faults.push({ code: 'config', message: `bundles: the name \`${name}\` is given twice` })
  }
  return faults
}

function readFile(file: string, faults: Finding[]): Record<string, unknown> {
  try {
    const document = parseDocument(readFileSync(file, 'utf8'), { uniqueKeys: true })
    for (const error of document.errors) faults.push({ code: 'config', message: `${file}: ${error.message}` })
    const value = document.errors.length > 0 ? {} : (document.toJS() ?? {})
    if (typeof value === 'object' && !Array.isArray(value)) return value as Record<string, unknown>
    faults.push({ code: 'config', message: `${file}: the outermost value must be a mapping` })
  } catch (cause) {
    faults.push({ code: 'config', message: `${file}: ${(cause as Error).message}` })
  }
  return {}
}

function applyVariables(target: Record<string, unknown>, env: NodeJS.ProcessEnv, faults: Finding[]): void {
  const known = new Map(listSettings().map((setting) => [setting.variable, setting]))
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith('VERDICT_') || text === undefined || name === 'VERDICT_TOKEN' || name === 'VERDICT_SERVER') continue
    const setting = known.get(name)
    if (setting === undefined) faults.push({ code: 'config', message: `${name}: no such setting` })
    else assign(target, setting.path, parseVariable(text, setting.schema))
  }
}

/** Lists and mappings are YAML, all else is as the schema of its place wants it. */
function parseVariable(text: string, schema: z.ZodType): unknown {
  if (schema.safeParse(text).success) return text
  const document = parseDocument(text)
  return document.errors.length > 0 ? text : document.toJS()
}

function assign(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [key, ...rest] = path as [string, ...string[]]
  if (rest.length === 0) target[key] = value
  else {
    const next = target[key]
    const inner = typeof next === 'object' && next !== null ? (next as Record<string, unknown>) : {}
    target[key] = inner
    assign(inner, rest, value)
  }
}

function toUpperSnake(name: string): string {
  return name.replace(/[A-Z]/g, (c) => `_${c}`).toUpperCase()
}
